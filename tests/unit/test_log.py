# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of log lines: which are written, what they never contain, and that no write blocks."""

from __future__ import annotations

import os
import select

import pytest

from ctdb_etcd.log import Log
from tests.support.forks import fork
from tests.support.helper import full_pipe

LEVELS = ["error", "info", "debug", "wire"]


def logged(action, verbosity=0):
    """Return what is written to stderr."""
    reader, writer = os.pipe()

    def child():
        os.dup2(writer, 2)
        action(Log(verbosity))

    pid = fork(child)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


@pytest.mark.parametrize("verbosity", range(5))
def test_each_v_adds_a_level(verbosity):
    def write(log):
        for level in LEVELS:
            getattr(log, level)(level)

    lines = logged(write, verbosity).splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == LEVELS[: verbosity + 1]


def test_only_errors_are_written_without_v(capfd):
    for level in LEVELS:
        getattr(Log(), level)(level)
    assert capfd.readouterr().err == "ctdb_etcd_lock: error\n"


def test_line_names_the_program_and_once_known_the_lock():
    def write(log):
        log.error("a")
        log.about("/l/")
        log.error("b")
        log.error("lost /l/ (v3)")

    assert logged(write).splitlines() == [
        "ctdb_etcd_lock: a",
        "ctdb_etcd_lock: /l/: b",
        "ctdb_etcd_lock: lost /l/ (v3)",
    ]


@pytest.mark.parametrize("char", ["\n", "\r", "\x1b", "\x00", "\x85", "\u2028", "\u202e"])
def test_control_characters_do_not_forge_a_line_or_move_the_cursor(char):
    assert logged(lambda log: log.error(f"a{char}b")) == "ctdb_etcd_lock: a b\n"


def test_non_ascii_letters_are_kept():
    assert logged(lambda log: log.error("zürich \u4e2d")) == "ctdb_etcd_lock: zürich \u4e2d\n"
    assert logged(lambda log: log.error("a\udcffb")).startswith("ctdb_etcd_lock: a")


def test_line_is_no_longer_than_an_atomic_pipe_write():
    text = logged(lambda log: log.error("x" * 10000))
    assert len(text) == 4096 and text.endswith("x\n")


def test_line_is_dropped_if_stderr_is_full():
    reader, writer = full_pipe()

    def child():
        os.dup2(writer, 2)
        Log().error("x")
        os._exit(7)

    # If the write blocked, SIGALRM would end the child.
    assert os.WEXITSTATUS(os.waitpid(fork(child), 0)[1]) == 7
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("how", ["closed", "without a reader"])
def test_unwritable_stderr_is_no_error(how):
    def child():
        reader, writer = os.pipe()
        os.dup2(writer, 2)
        os.close(reader)
        if how == "closed":
            os.close(2)
        Log().error("x")
        os._exit(7)

    assert os.WEXITSTATUS(os.waitpid(fork(child), 0)[1]) == 7


def test_no_line_waits_for_stderr_to_become_writable(monkeypatch):
    asked = []

    class Poll:
        def register(self, fd, events):
            asked.append((fd, events))

        def poll(self, milliseconds):
            asked.append(milliseconds)
            return []

    monkeypatch.setattr(select, "poll", Poll)
    Log().error("x")
    assert asked == [(2, select.POLLOUT), 0]
