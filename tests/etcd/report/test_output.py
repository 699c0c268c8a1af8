# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the reports' output: any locale, and a stdout that cannot be written."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.support.helper import PATH, PROGRAM
from tests.support.machine import PDEATHSIG

COMMANDS = pytest.mark.parametrize("command", ["--status", "--check"])


def run(*arguments, shell='exec "$@"', **env):
    """Run the program and return its exit status, stdout and stderr (bytes); `shell` may redirect them."""
    argv = [*PDEATHSIG, "sh", "-c", shell, "sh", PROGRAM, *map(str, arguments)]
    return subprocess.run(argv, env={"PATH": PATH, **env}, capture_output=True, timeout=30, check=False)


@pytest.fixture(scope="module")
def latin(tmp_path_factory):
    """Return the environment of a locale that encodes in ISO 8859-1."""
    path = tmp_path_factory.mktemp("locales")
    # localedef warns about what a POSIX locale lacks, and its exit status shows that.
    subprocess.run(["localedef", "-i", "POSIX", "-f", "ISO-8859-1", path / "xx"], capture_output=True, check=False)
    if not (path / "xx" / "LC_CTYPE").exists():
        pytest.skip("localedef lacks its sources")
    return {"LOCPATH": str(path), "LC_ALL": "xx"}


@pytest.fixture
def foreign(etcd, lock_name):
    """Write a value with characters that ISO 8859-1 has, that it lacks, and that no encoding has."""
    who = {"node": "n\u00f6de\u20ac\ud800", "pnn": 1, "pid": 7, "since": "2026-01-02T03:04:05Z", "version": "1"}
    etcd.put(f"/_locks/_ctdb/{lock_name}/1", json.dumps(who))


@COMMANDS
def test_character_missing_in_the_locale_is_shown_in_ascii(helper_conf, foreign, latin, command):
    keys = {} if command == "--status" else {"protocol": "https", "ca_cert": "/nowhere/\u00f6\u20ac.pem"}
    conf = helper_conf(**keys)
    done = run("-c", conf, command, **latin)
    assert done.stderr == b"" and done.returncode in (0, 1)
    shown = b"node n\xf6de\\u20ac" if command == "--status" else b"ca_cert: /nowhere/\xf6\\u20ac.pem: No such file"
    assert shown in done.stdout
    done = run("-c", conf, command, "--json", **latin)
    assert done.stderr == b"" and json.loads(done.stdout)["exit"] == done.returncode


@COMMANDS
@pytest.mark.parametrize("json_option", [[], ["--json"]])
@pytest.mark.parametrize(
    "where, why", [(">/dev/full", b"No space left on device"), (">&-", b"stdout is closed")], ids=["full", "closed"]
)
def test_unwritable_stdout_is_reported_in_one_line(helper_conf, command, json_option, where, why):
    done = run("-c", helper_conf(), command, *json_option, shell=f'exec "$@" {where}')
    assert done.returncode == 3
    assert done.stderr == b"UNKNOWN: the report cannot be printed: " + why + b"\n"


@COMMANDS
def test_exit_status_is_right_if_stderr_is_unwritable_too(helper_conf, command):
    for where in ">/dev/full 2>/dev/full", ">&- 2>&-", ">/dev/null 2>&-":
        done = run("-c", helper_conf(), command, shell=f'exec "$@" {where}')
        assert done.returncode == (3 if "null" not in where else {"--status": 1, "--check": 0}[command])


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_that_cannot_be_printed_is_an_error_in_one_line(option):
    done = run(option, shell='exec "$@" >/dev/full')
    assert done.returncode == 3
    assert done.stderr == b"ctdb_etcd_lock: stdout cannot be written to: No space left on device\n"


@COMMANDS
def test_invalid_utf_8_on_the_command_line_does_no_harm(command, latin):
    done = run(command, os.fsdecode(b"\xff"))
    assert done.returncode == 3
    assert done.stderr.startswith(b"UNKNOWN: unrecognized arguments: ") and done.stderr.count(b"\n") == 1
