# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the configuration file: how it is parsed, and that all of its faults are reported at once."""

from __future__ import annotations

import re
import sys

import pytest

from ctdb_etcd.config import keys, parse as config
from tests.support import TREE
from tests.support.conf import parse, refused

SHIPPED = TREE / "etc" / "ctdb_etcd_lock.conf"


def test_an_empty_file_gives_the_documented_defaults():
    settings = parse("")
    assert settings.warnings == settings.notes == []
    assert settings.hosts == [("127.0.0.1", 2379)]
    assert (settings.lock_ttl, settings.refresh, settings.locks_dir) == (9, 2, "_ctdb")
    assert (settings.lock_prefix, settings.netbios_name) == ("/_locks", None)
    assert (settings.acquire_timeout, settings.read_timeout) == (4, 3)


def test_the_shipped_file_shows_every_key_with_its_default():
    text = SHIPPED.read_text()
    shown = dict(re.findall(r"^#(\w+) = ?(.*)$", text, re.MULTILINE))
    assert shown.keys() == keys.SPEC.keys()
    for key in "netbios_name", "srv_domain", "ca_cert", "cert", "username", "password", "expected_cluster_id":
        assert shown.pop(key) == ""
    uncommented = "\n".join(f"{key} = {value}" for key, value in shown.items())
    assert vars(parse(uncommented)) == vars(parse("")) == vars(parse(text))


def test_missing_configobj_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "configobj", None)
    (fault,) = refused("port = 1")
    assert re.fullmatch(r"configobj cannot be imported \(.*\): install python3-configobj", fault)


def test_comments_quotes_lists_and_blank_lines_are_parsed():
    settings = parse(
        "\ufeff# a comment\r\n\r\n  host = a, 'b:1' , [::1]:2,::2, fe80::1%eth0.100 # another\r\n"
        'locks_dir = "some/where"\r\nnetbios_name=files\r\nport = 99 # the last'
    )
    assert settings.hosts == [("a", 99), ("b", 1), ("::1", 2), ("::2", 99), ("fe80::1%eth0.100", 99)]
    assert settings.locks_dir == "some/where"


def test_percent_and_dollar_signs_are_literal():
    assert parse("locks_dir = a$b").locks_dir == "a$b"
    assert "%(port)s" in refused("locks_dir = %(port)s")[0]


def test_password_may_contain_anything_but_a_hash_only_in_quotes():
    assert parse("username = u\npassword = '%(port)s$x, #1'  # note").password == "%(port)s$x, #1"
    (fault,) = refused("username = u\npassword = secret#1")
    assert fault == "the.conf: line 2: password: a # begins a comment: put the value into quotes"


def test_name_is_converted_to_upper_case_as_by_testparm():
    assert parse("netbios_name = Files-1").netbios_name == "FILES-1"


def test_directory_of_the_lock_is_made_of_prefix_locks_dir_and_name():
    assert parse("lock_prefix = /p/q\nlocks_dir = d").directory("NAME") == "/p/q/d/NAME/"


def test_lock_refresh_of_sambas_helper_sets_refresh_with_a_note():
    settings = parse("\nlock_refresh = 3")
    assert settings.refresh == 3
    assert settings.notes == ["the.conf: line 2: lock_refresh: is taken for refresh, its name here"]
    assert "line 1: lock_refresh: refresh is set as well" in refused("lock_refresh = 3\nrefresh = 2")[0]
    # A bad value is reported with its line.
    assert refused("\n'lock_refresh' = x")[0].startswith("the.conf: line 2: refresh: 'x' is not allowed")
    assert refused("\nrefresh = 9\nlock_refresh = 2")[0].startswith("the.conf: line 3: lock_refresh: refresh is set")


def test_all_faults_are_named_at_once():
    faults = refused("port = x\nnonsense\n[s]\nrefresh = 0\nlock_ttl = 9\nlock_ttl = 8\nprt = 1\n")
    assert sorted(re.findall(r"conf: line (\d+)", "\n".join(faults))) == ["1", "2", "3", "4", "6", "7"]


def test_each_section_is_named_and_its_keys_belong_to_the_file():
    faults = refused("\n[s!]\nport = x\n\n[ 'a b' ]\nrefresh = y\nport = z\n[last]\n")
    sections = "[sections] are not used here: remove the line"
    assert [fault.partition(": line ")[2].partition(" is not")[0] for fault in faults] == [
        f"2: {sections}",
        f"5: {sections}",
        f"8: {sections}",
        "3: port: 'x'",
        "6: refresh: 'y'",
    ]


def test_section_that_is_there_twice_is_a_section():
    says = "[sections] are not used here: remove the line"
    assert refused("[a]\n  [a]\n") == [f"the.conf: line 2: {says}", f"the.conf: line 1: {says}"]


def test_comment_with_a_hash_is_no_fault_where_no_password_is():
    assert parse("locks_dir = a # note\nport = 1").locks_dir == "a"


def test_key_that_resembles_several_is_named_with_the_nearest():
    assert refused("allow_recirect = yes")[0].endswith("the nearest one is allow_redirect")
    # The similarity of `lock` and `lock_ttl` is 0.67. The limit is 0.7.
    assert refused("lock = 1")[0].endswith("with a known key: ctdb-etcd(7) has them all")


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"port = 1\nhost = \xe4\n", b"\x00", b"port\x00 = 1"])
def test_a_file_that_is_not_text_is_refused(data):
    assert len(refused(data)) == 1


@pytest.mark.parametrize("mode, warned", [(0o644, True), (0o604, True), (0o600, False)])
def test_a_password_that_others_may_read_is_a_warning(tmp_path, mode, warned):
    conf = tmp_path / "x.conf"
    conf.write_text("username = u\npassword = p")
    conf.chmod(mode)
    warnings = config.parse(str(conf), conf.read_bytes()).warnings
    assert warnings == [f"{conf}: line 2: password: others may read this file: chmod 600 {conf}"] * warned
    conf.write_text("port = 1")
    assert not config.parse(str(conf), conf.read_bytes()).warnings


# str.splitlines() ends a line at each of these. An editor does not.
SEPARATORS = "\u2028 \u2029 \u0085 \x0b \x0c \x1c \x1d \x1e".split(" ")


@pytest.mark.parametrize("separator", SEPARATORS)
def test_only_an_end_of_line_ends_a_line(separator):
    settings = parse(f"# a comment{separator}port = 1\nusername = u\npassword = 'a{separator}port = 2'\n")
    assert (settings.hosts, settings.password) == ([("127.0.0.1", 2379)], f"a{separator}port = 2")
    (fault,) = refused(f"# {separator}\nlocks_dir = a{separator}b\n")
    assert fault.startswith("the.conf: line 2: locks_dir: 'a b' is not allowed")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_numbers_do_not_depend_on_line_endings(end):
    assert refused(f"port = 1{end}{end}port = x{end}")[0].startswith("the.conf: line 3: port")
    assert refused(f"port = 1{end}{end}".encode() + b"\xff\n\n") == ["the.conf: line 3: is not UTF-8 text"]


@pytest.mark.parametrize(
    "line",
    [
        "password hunter2",
        "password = 'hunter2",
        "password = hunter2, hunter2",
        "password = 1\npassword = hunter2",
        "password: c2VjcmV0==\nhunter2==",
        "password:hunter2=x",
        "password hunter2 = 3",
        "username hunter2 password = x",
        "passwordhunter2 = x",
        "'password: hunter2' = x",
        "[password hunter2]\n[password hunter2]",
        "[password = hunter2",
        "password = '''a\nhunter2 = x",
        "username = u, password = hunter2",
        "locks_dir = password = hunter2",
        "locks_dir = PassWord = hunter2",
        "host = http://u:hunter2@etcd1:2379",
        "hunter2 = password",
        "pwd = hunter2",
    ],
)
def test_messages_never_show_what_may_be_a_secret(line):
    faults = "\n".join(refused(line))
    assert faults and "hunter2" not in faults and "c2VjcmV0" not in faults


@pytest.mark.parametrize("line", ["passwordx7 = 1", "Password_x7 = 1", "host x7 = 1", "expected_cluster id = x7"])
def test_what_may_hold_a_secret_is_not_named_as_a_misspelled_key(line):
    unnamed = 'is not of the form "key = value" with a known key: ctdb-etcd(7) has them all'
    assert refused(line) == [f"the.conf: line 1: {unnamed}"]


def test_misspelled_key_is_reported_with_the_known_one():
    faults = refused("Password = hunter2\npasword = hunter2\nuser_name = u\nlock-ttl = 9")
    assert [fault.partition(": line ")[2] for fault in faults] == [
        "1: Password: is not a known key; the nearest one is password",
        "2: pasword: is not a known key; the nearest one is password",
        "3: user_name: is not a known key; the nearest one is username",
        "4: lock-ttl: is not a known key; the nearest one is lock_ttl",
    ]
