# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the nonce file and the proof that a process is dead: any doubt means no. Processes and /proc are real."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from ast import literal_eval

import pytest

from ctdb_etcd.lock import takeover
from ctdb_etcd.lock.holder import process_state, proof
from ctdb_etcd.lock.takeover import NonceFile
from tests.support.forks import fork
from tests.support.machine import wait_until

NONCE = "0123456789abcdef"


@pytest.fixture(autouse=True)
def run_directory(monkeypatch, tmp_path):
    """Return a directory that replaces /run/ctdb."""
    monkeypatch.setattr(takeover, "_RUN", str(tmp_path / "run"))
    return tmp_path / "run"


class Other:
    """Another process on this machine. `who` is its proof, recorded while it lives."""

    def __init__(self, afterwards=signal.pause):
        reader, writer = os.pipe()

        def child():
            os.write(writer, repr(proof(NONCE)).encode())
            os.close(writer)
            afterwards()

        self.pid = fork(child)
        os.close(writer)
        with open(reader, encoding="ascii") as file:
            self.who = literal_eval(file.read())
        self._kill, self._reaped = os.kill, False

    def end(self, reap=True):
        """Kill the process. Without `reap` it stays as a zombie."""
        if self._reaped:
            return
        self._kill(self.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        if reap:
            os.waitpid(self.pid, 0)
            self._reaped = True


@pytest.fixture
def other():
    other = Other()
    yield other
    other.end()


@pytest.fixture
def nonce_file():
    """Return a contender's nonce file. The file on disk has the nonce of the other process, the last holder."""
    NonceFile("X", NONCE).leave()
    return NonceFile("X", "another nonce")


@pytest.mark.parametrize("reap", [True, False], ids=["reaped", "zombie"])
def test_a_process_of_this_machine_that_has_ended_is_dead(other, nonce_file, reap):
    assert nonce_file.proves_dead(other.who) is False
    other.end(reap)
    assert nonce_file.proves_dead(other.who) is True


def test_a_stopped_process_is_not_dead(other, nonce_file):
    os.kill(other.pid, signal.SIGSTOP)
    os.waitpid(other.pid, os.WUNTRACED)
    assert nonce_file.proves_dead(other.who) is False


def test_later_process_with_the_same_pid_is_known_by_its_start_time(other, nonce_file):
    assert nonce_file.proves_dead({**other.who, "start_time": other.who["start_time"] - 1}) is True


FOREIGN = [
    ("boot_id", "00000000-0000-0000-0000-000000000000"),
    ("pid_namespace", 1),
    ("time_namespace", 1),
    ("nonce", "fedcba9876543210"),
    ("nonce", NONCE + "0"),
    ("nonce", ""),
]
ODD = [
    ("pid", "4711"),
    ("pid", 4711.0),
    ("pid", True),
    ("pid", None),
    ("pid", 0),
    ("pid", 1),
    ("pid", -1),
    ("start_time", "1"),
    ("start_time", None),
    ("start_time", 1.5),
    ("start_time", True),
]


@pytest.mark.parametrize("field, text", FOREIGN + ODD)
def test_process_of_another_boot_or_namespace_is_not_proven_dead(other, nonce_file, field, text):
    other.end()
    assert nonce_file.proves_dead({**other.who, field: text}) is False


@pytest.mark.parametrize("field", ["nonce", "boot_id", "pid_namespace", "time_namespace", "pid", "start_time"])
def test_an_incomplete_proof_proves_nothing(other, nonce_file, field):
    other.end()
    del other.who[field]
    assert nonce_file.proves_dead(other.who) is False


def test_process_with_an_impossible_pid_is_dead(other, nonce_file):
    assert nonce_file.proves_dead({**other.who, "pid": 2**70}) is True


@pytest.mark.parametrize("shown", ["1", "999999"])
def test_proc_of_another_pid_namespace_is_not_believed(other, nonce_file, monkeypatch, shown):
    real = os.readlink
    monkeypatch.setattr(os, "readlink", lambda path: shown if path == "/proc/self" else real(path))
    # The start time in /proc is later than the recorded one, so the pid seems to belong to a later process.
    assert nonce_file.proves_dead({**other.who, "start_time": other.who["start_time"] - 1}) is False


def test_lowest_pid_of_a_helper_is_two(other, nonce_file, monkeypatch):
    asked = []

    def gone(pid, number):
        asked.append((pid, number))
        raise ProcessLookupError(3, "No such process")

    monkeypatch.setattr(os, "kill", gone)
    assert [nonce_file.proves_dead({**other.who, "pid": pid}) for pid in (0, 1, 2)] == [False, False, True]
    # Signal 0 only checks that the process exists.
    assert asked == [(2, 0)]


def test_process_that_may_not_be_signalled_is_alive(other, nonce_file, monkeypatch):
    def refuse(pid, number):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", refuse)
    assert nonce_file.proves_dead(other.who) is False


def test_process_whose_first_thread_alone_has_ended_is_alive(nonce_file):
    def end_first_thread():
        threading.Thread(target=signal.pause).start()
        ctypes.CDLL(None).pthread_exit(None)

    other = Other(end_first_thread)
    wait_until(lambda: process_state(str(other.pid))[0] == "Z", "the first thread's end")
    assert nonce_file.proves_dead(other.who) is False
    other.end(reap=False)
    assert nonce_file.proves_dead(other.who) is True
    other.end()


def test_process_is_not_proven_dead_without_its_nonce_on_this_machine(other, run_directory):
    other.end()
    assert NonceFile("X", "z").proves_dead(other.who) is False
    NonceFile("Y", NONCE).leave()
    assert NonceFile("X", "z").proves_dead(other.who) is False


# The nonce file


def test_file_without_a_nonce_proves_nothing_and_is_not_removed(other, run_directory):
    other.end()
    run_directory.mkdir()
    path = run_directory / "ctdb_etcd_lock.X"
    path.write_bytes(b"\xff\xfe")
    nonce_file = NonceFile("X", "z")
    assert nonce_file.proves_dead(other.who) is False
    nonce_file.remove()
    assert path.exists()


def test_directory_of_the_nonce_file_is_readable_by_all(run_directory):
    before = os.umask(0)
    try:
        NonceFile("X", NONCE).leave()
    finally:
        os.umask(before)
    assert run_directory.stat().st_mode & 0o777 == 0o755


def test_nonce_file_has_mode_0600_and_replaces_that_of_the_last_holder(run_directory):
    NonceFile("X", "a" * 20).leave()
    NonceFile("X", NONCE).leave()
    path = run_directory / "ctdb_etcd_lock.X"
    assert path.read_text() == NONCE and path.stat().st_mode & 0o777 == 0o600


def test_nonce_file_is_removed_only_by_the_holder_that_wrote_it(run_directory):
    first, second = NonceFile("X", "first"), NonceFile("X", "second")
    path = run_directory / "ctdb_etcd_lock.X"
    first.remove()
    first.leave()
    second.leave()
    first.remove()
    assert path.read_text() == "second"
    second.remove()
    assert not path.exists()


def test_a_nonce_is_never_written_through_a_link(run_directory, tmp_path):
    run_directory.mkdir()
    (tmp_path / "target").write_text("safe")
    (run_directory / "ctdb_etcd_lock.X").symlink_to(tmp_path / "target")
    with pytest.raises(OSError):
        NonceFile("X", NONCE).leave()
    assert (tmp_path / "target").read_text() == "safe"


def test_proof_identifies_this_process():
    who = proof(NONCE)
    assert who["pid"] == os.getpid() and who["nonce"] == NONCE
    with open("/proc/self/stat", encoding="ascii") as file:
        assert str(who["start_time"]) == file.read().rpartition(")")[2].split()[19]
    assert who["pid_namespace"] == os.stat("/proc/self/ns/pid").st_ino
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        assert who["boot_id"] == file.read().strip()
