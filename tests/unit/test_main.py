# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the command line and of the file that it names."""

from __future__ import annotations

import re

import pytest

from tests.support.helper import Helper


HELP = [
    "-c FILE configuration file (/etc/ctdb/ctdb_etcd_lock.conf)",
    "-v log more on stderr, up to -vvv",
    "--status show holder and endpoints; 0 good, 1 warning, 2 critical, 3 unknown",
    "--check try all that the lock needs, without touching it; 0 good",
    "--json with --status or --check: for programs",
    "prints one character: 0 holding the lock, 1 contention, 2 took too long, 3 error.",
]


def test_ctdb_base_sets_the_directory_of_the_default_file(tmp_path):
    (tmp_path / "ctdb_etcd_lock.conf").write_text("port = bad\n")
    with Helper(None, env={"CTDB_BASE": str(tmp_path)}) as helper:
        assert helper.status() == "3"
        helper.wait_exit()
        assert f"{tmp_path}/ctdb_etcd_lock.conf: line 1: port" in helper.stderr


def test_a_bad_option_gives_status_3_and_a_line():
    with Helper(None, "--verbose") as helper:
        assert helper.status() == "3"
        helper.wait_exit()
        assert helper.stderr == "ctdb_etcd_lock: unrecognized arguments: --verbose: see --help\n"


def test_help_and_version_are_printed():
    with Helper(None, "--help") as helper:
        helper.wait_exit()
        text = " ".join(helper.stdout.decode().split())
        assert helper.returncode == 0 and "cluster lock = !" in text
        for part in HELP:
            assert part in text
    with Helper(None, "--version") as helper:
        helper.wait_exit()
        assert re.fullmatch(rb"ctdb_etcd_lock \d+\.\d+\S*\n", helper.stdout)


def test_help_shows_any_path_of_the_default_file():
    with Helper(None, "--help", env={"CTDB_BASE": "/srv/100%/%s"}) as helper:
        helper.wait_exit()
        assert helper.returncode == 0 and "(/srv/100%/%s/ctdb_etcd_lock.conf)" in helper.stdout.decode()


def test_a_bad_file_gives_status_3_and_all_its_lines_on_stderr(tmp_path):
    conf = tmp_path / "bad.conf"
    conf.write_text("port = 0\nnetbios_name = X\nhots = a\n")
    with Helper(conf) as helper:
        assert helper.status() == "3"
        helper.wait_exit()
        assert helper.stderr.splitlines() == [
            f"ctdb_etcd_lock: {conf}: line 3: hots: is not a known key; the nearest one is host",
            f"ctdb_etcd_lock: {conf}: line 1: port: '0' is not allowed: it takes a whole number from 1 to 65535",
        ]


@pytest.mark.parametrize("make", ["missing", "directory"])
def test_unreadable_file_named_with_c_is_an_error(tmp_path, make):
    conf = tmp_path / "x.conf"
    if make == "directory":
        conf.mkdir()
    with Helper(conf) as helper:
        assert helper.status() == "3"
        helper.wait_exit()
        assert helper.stdout == b"3"
        assert len(helper.stderr.splitlines()) == 1 and str(conf) in helper.stderr
