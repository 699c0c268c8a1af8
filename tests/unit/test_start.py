# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of main() in a child: whatever happens, CTDB gets its one character, and an operator gets a line of text."""

from __future__ import annotations

import os

import pytest

from ctdb_etcd import main
from ctdb_etcd.ctdb import hold
from ctdb_etcd.errors import Refused, Stopped, Unavailable
from tests.support.forks import fork


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "conf"
    path.write_text("netbios_name = X\n")
    return path


def start(conf, run=None, parent=None):
    """Run main() in a child, and return its stdout, its stderr and its exit status.

    `run(contender)` replaces the lock's life, and `parent` replaces the parent's pid.
    """
    out, err = os.pipe(), os.pipe()

    def life(refresh, lock, contender, limit, watch, status, log):
        run(contender)

    def child():
        os.dup2(out[1], 1)
        os.dup2(err[1], 2)
        if run:
            hold.run = life
        if parent is not None:
            os.getppid = lambda: parent
        os._exit(main.main(["-c", str(conf)]))

    pid = fork(child)
    texts = []
    for reader, writer in out, err:
        os.close(writer)
        with open(reader, encoding="utf-8") as file:
            texts.append(file.read())
    return (*texts, os.WEXITSTATUS(os.waitpid(pid, 0)[1]))


@pytest.mark.parametrize("parent", [0, 1])
def test_helper_without_a_parent_does_nothing(conf, parent):
    out, err, code = start(conf, lambda *parts: os.write(2, b"the lock's life"), parent)
    assert (out, code) == ("3", 3) and "the parent process is gone" in err and "life" not in err
    # A container whose process 1 is ctdbd needs this advice.
    assert "an init above it (docker run --init)" in err


OUTCOMES = [
    (Unavailable("x"), "2", "ctdb_etcd_lock: /_locks/_ctdb/X/: x\n", 2),
    (Refused("x"), "3", "ctdb_etcd_lock: /_locks/_ctdb/X/: x\n", 3),
    (Stopped("x"), "", "", 0),
]


@pytest.mark.parametrize("error, out, err, code", OUTCOMES, ids=lambda part: type(part).__name__)
def test_each_exception_has_its_character_and_exit_status(conf, error, out, err, code):
    def run(contender):
        raise error

    assert start(conf, run) == (out, err, code)


def test_unexpected_error_gives_a_character_and_a_line_with_its_place(conf):
    def run(contender):
        raise ValueError("hunter2")

    out, err, code = start(conf, run)
    assert (out, code) == ("3", 3)
    (line,) = err.splitlines()
    assert "this is a bug, please report it: ValueError at unit/test_start.py:" in line and "Traceback" not in err
    # The text of an exception may quote a secret from the file.
    assert "hunter2" not in err


def test_two_helpers_have_different_nonces(conf):
    def run(contender):
        os.write(2, vars(contender.nonce_file)["_nonce"].encode())

    nonces = {start(conf, run)[1] for _ in range(2)}
    assert len(nonces) == 2 and all(len(nonce) == 16 for nonce in nonces)


@pytest.mark.parametrize("name, electing", [("ctdb_recoverd", "True"), ("ctdbd", "False")])
def test_only_recovery_daemon_as_parent_makes_the_contender_elect(conf, name, electing):
    def run(contender):
        os.write(2, str(vars(contender)["_electing"]).encode())

    with open("/proc/self/comm", encoding="ascii") as file:
        before = file.read()
    try:
        rename(name)
        assert start(conf, run)[1] == electing
    finally:
        rename(before.strip())


def rename(name):
    with open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(name)


def test_warnings_of_the_file_are_logged_and_notes_only_with_v(conf):
    conf.write_text("netbios_name = X\nca_cert = /x\nlock_refresh = 2\n")
    out, err, _ = start(conf, lambda *parts: None)
    (line,) = err.splitlines()
    assert line == f"ctdb_etcd_lock: {conf}: line 2: ca_cert: has no effect with protocol = http: set protocol = https"


def test_each_fault_of_the_file_has_a_line_with_its_name(conf):
    conf.write_text("port = 0\nx = 1\n")
    out, err, code = start(conf)
    assert (out, code) == ("3", 3)
    assert [line.startswith(f"ctdb_etcd_lock: {conf}: line ") for line in err.splitlines()] == [True, True]
