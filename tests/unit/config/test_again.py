# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of a running helper that reads its file again: which values change, which stay, and what is logged once."""

from __future__ import annotations

import pytest

from ctdb_etcd.config import keys
from ctdb_etcd.config.parse import parse
from tests.support.fakes import Log

STAYS = "netbios_name lock_prefix locks_dir api version_prefix lock_ttl refresh expected_cluster_id".split()
# For each key a value other than its default.
OTHER = {
    "host": "a, b:1",
    "port": "99",
    "lock_ttl": "20",
    "refresh": "3",
    "locks_dir": "elsewhere",
    "lock_prefix": "/else",
    "netbios_name": "OTHER",
    "acquire_timeout": "5",
    "read_timeout": "2",
    "api": "3",
    "protocol": "https",
    "ca_cert": "/ca.pem",
    "cert": "/cert.pem, /key.pem",
    "username": "u",
    "password": "p",
    "srv_domain": "test",
    "expected_cluster_id": "77",
    "version_prefix": "/v9",
    "allow_redirect": "false",
    "allow_reconnect": "true",
    "use_proxies": "true",
    "per_host_pool_size": "3",
}


class Followed:
    """A configuration whose file can be written again."""

    def __init__(self, path, text=""):
        self.path, self.log = path, Log()
        self.write(text)
        self.config = parse(str(path), path.read_bytes())
        self.config.follow(str(path), path.read_bytes(), self.log)

    def write(self, text):
        self.path.write_text(text)


@pytest.fixture
def followed(tmp_path):
    return Followed(tmp_path / "x.conf", "host = a\n")


def test_file_that_has_not_changed_changes_nothing(followed):
    before = dict(vars(followed.config))
    followed.write("host = a\n")
    assert not followed.config.again()
    assert vars(followed.config) == before and not followed.log.lines


def test_no_file_is_read_again_without_a_path():
    assert not parse("/none", b"").again()


def test_every_value_is_adopted_except_those_of_the_lock(followed):
    assert OTHER.keys() == keys.SPEC.keys()
    old = dict(vars(followed.config))
    followed.write("".join(f"{key} = {value}\n" for key, value in OTHER.items()))
    assert followed.config.again() and followed.config.edition == 1
    read = parse(str(followed.path), followed.path.read_bytes())
    for key in vars(read):
        assert getattr(followed.config, key) == (old[key] if key in STAYS else getattr(read, key)), key
    changed, kept = followed.log.lines
    assert changed.endswith("has changed and was read again")
    assert kept.endswith(f"a running helper keeps {', '.join(STAYS)} as before")
    assert not followed.config.again()


@pytest.mark.parametrize("spoil", ["unknown = 1\n", "host = a b\nport = x\n", None])
def test_file_that_cannot_be_used_is_logged_once(followed, spoil):
    before = dict(vars(followed.config))
    if spoil is None:
        followed.path.unlink()
    else:
        followed.write(spoil)
    for _ in range(3):
        assert not followed.config.again()
    assert vars(followed.config) == {**before, "_logged": followed.config._logged} and followed.config.edition == 0
    assert followed.log.lines[0].startswith("error: going on with what the file said before: ")
    assert len(followed.log.lines) == (1 if spoil is None else len(spoil.splitlines()))
    followed.write("host = b\n")
    assert followed.config.again() and followed.config.hosts == [("b", 2379)]


def test_kept_difference_is_logged_once_over_several_changes(followed):
    for host in "bcd":
        followed.write(f"host = {host}\nlock_ttl = 20\n")
        assert followed.config.again()
    assert len([line for line in followed.log.lines if "keeps lock_ttl as before" in line]) == 1
    assert followed.config.edition == 3 and followed.config.lock_ttl == 9


def test_default_file_that_never_existed_is_not_reported(tmp_path):
    followed = Followed(tmp_path / "x.conf")
    followed.path.unlink()
    assert not followed.config.again() and not followed.log.lines
