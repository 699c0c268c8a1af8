# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the helper as a child of CTDB: the status character, inherited state, the parent, and the start."""

from __future__ import annotations

import os
import select
import signal
import socket
import time

import pytest

from ctdb_etcd.ctdb.process import Status, _started, begin, elects
from tests.support.fakes import Clock
from tests.support.forks import fork, in_child
from tests.support.helper import Helper
from tests.support.machine import wait_until

ENDING = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
FOREVER = float("inf")


# The status character


def written_by(action):
    """Return what CTDB would read from stdout."""

    def child():
        reader, writer = os.pipe()
        os.dup2(writer, 1)
        os.close(writer)
        action(Status())
        os.close(1)
        return os.read(reader, 10).decode()

    return in_child(child)


def test_only_one_character_is_written():
    assert written_by(lambda status: status.write("0")) == "0"
    assert written_by(lambda status: (status.write("0"), status.write("1"), status.write("3"))) == "0"


def test_nothing_is_written_after_the_end():
    assert written_by(lambda status: (status.end(), status.write("0"))) == ""


def test_reader_of_stdout_sees_the_end_at_once():
    def child():
        reader, writer = os.pipe()
        os.dup2(writer, 1)
        os.close(writer)
        Status().end()
        return os.read(reader, 10)

    assert in_child(child) == "b''"


def test_unwritable_stdout_is_no_error():
    assert in_child(lambda: (os.close(1), Status().write("0"))[1]) == "None"


# Inherited state


def test_start_closes_only_descriptors_above_stderr():
    reader, writer = os.pipe()

    def child():
        os.dup2(writer, 2)
        opened = [0, 1, 2, os.dup2(0, 3), os.dup2(0, 4), os.dup2(0, 200)]
        begin()
        os.write(2, str([fd for fd in opened if os.path.exists(f"/proc/self/fd/{fd}")]).encode())

    pid = fork(child)
    os.close(writer)
    assert os.read(reader, 100) == b"[0, 1, 2]"
    os.waitpid(pid, 0)
    os.close(reader)


@pytest.mark.parametrize("missing", [{0}, {1}, {2}, {0, 1}, {0, 1, 2}])
def test_missing_standard_descriptors_are_not_given_to_others(missing):
    reader, writer = os.pipe()

    def child():
        for fd in missing:
            os.close(fd)
        begin()
        poll = select.poll()
        poll.register(1, 0)
        # A missing stdout has no reader, a missing stdin nothing to read.
        ends = (0 not in missing or os.read(0, 1) == b"") and (1 not in missing or poll.poll(0))
        return ends and os.dup(0) == 3

    pid = fork(lambda: os._exit(7 if child() else 8))
    os.close(writer)
    os.close(reader)
    assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 7


def test_open_descriptors_are_closed_without_proc_too():
    def child():
        os.dup2(0, 3)
        os.listdir = lambda path: (_ for _ in ()).throw(OSError(2, path))
        begin()
        try:
            os.fstat(3)
        except OSError:
            os._exit(7)

    assert os.WEXITSTATUS(os.waitpid(fork(child), 0)[1]) == 7


def test_start_time_is_that_of_the_fork():
    reader, writer = os.pipe()
    before = time.monotonic()

    def child():
        os.dup2(writer, 2)
        running = time.monotonic()
        time.sleep(0.03)
        os.write(2, f"{begin()} {running}".encode())

    pid = fork(child)
    os.close(writer)
    started, running = map(float, os.read(reader, 100).split())
    # The kernel counts start times in ticks of 10 ms.
    assert before - 0.02 <= started <= running
    os.waitpid(pid, 0)
    os.close(reader)


@pytest.mark.parametrize("stat", ["", "1 (x) S", "1 (x) " + "x " * 50, None])
def test_start_time_is_now_if_proc_has_none(stat, monkeypatch, tmp_path):
    now = Clock(monkeypatch).now
    (tmp_path / "stat").write_text(stat or "")
    path = tmp_path / ("none" if stat is None else "stat")
    real = open
    monkeypatch.setattr("builtins.open", lambda name, *more: real(path if name == "/proc/self/stat" else name, *more))
    assert _started() == now


def test_machine_that_slept_during_the_start_has_not_started_later(monkeypatch):
    now = Clock(monkeypatch).now
    # With this tick rate, the process starts in the future of the fake clock.
    monkeypatch.setattr(os, "sysconf", lambda name: 1e-9)
    assert _started() == now


@pytest.mark.parametrize("name, answer", [("ctdb_recoverd", True), ("ctdbd", False), ("ctdb_recoverd2", False)])
def test_only_the_recovery_daemon_elects(name, answer):
    def child():
        with open("/proc/self/comm", "w", encoding="ascii") as file:
            file.write(name)
        return elects(os.getpid())

    assert in_child(child) == str(answer)


def test_parent_that_has_ended_does_not_elect():
    pid = fork(lambda: None)
    os.waitpid(pid, 0)
    assert not elects(pid)


# The start


@pytest.fixture
def fifo(tmp_path):
    """Return a FIFO as the configuration file: the test decides when the helper can read it."""
    path = tmp_path / "conf"
    os.mkfifo(path)
    return path


def parent_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def test_parent_that_dies_during_start_ends_helper_before_etcd_is_asked(fifo):
    with socket.create_server(("127.0.0.1", 0)) as etcd:
        with Helper(fifo, own_parent=True) as helper:
            # open() returns when the helper opens the file for reading.
            with open(fifo, "w", encoding="ascii") as file:
                helper.kill_parent()
                wait_until(lambda: parent_of(helper.pid) != helper.parent_pid, "another parent")
                file.write(f"netbios_name = X\nport = {etcd.getsockname()[1]}\napi = 3\nacquire_timeout = 1\n")
            helper.wait_exit()
            assert (helper.stdout, helper.stderr) == (b"", "")
        etcd.setblocking(False)
        with pytest.raises(BlockingIOError):
            etcd.accept()


@pytest.mark.parametrize("number", ENDING)
def test_signal_before_the_lock_is_requested_kills_the_helper(fifo, number):
    with Helper(fifo) as helper:
        with open(fifo, "w", encoding="ascii"):
            helper.signal(number)
            helper.wait_exit()
        assert (helper.returncode, helper.stdout, helper.stderr) == (-number, b"", "")


def test_descriptor_leaked_by_ctdbd_is_closed_before_the_file_is_read(fifo):
    reader, writer = os.pipe()
    with Helper(fifo, extra_fds=[writer]):
        os.close(writer)
        with open(fifo, "w", encoding="ascii"):
            # End of file: no process has the other end open.
            assert os.read(reader, 1) == b""
    os.close(reader)
