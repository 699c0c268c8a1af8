# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of commands, with real programs: they answer or are ended in time, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ctdb_etcd.ctdb import commands
from ctdb_etcd.ctdb.commands import NOT_RUN, Command, NodeNumber, testparm as ask_testparm
from ctdb_etcd.errors import Stopped
from ctdb_etcd.waiting import Patient


def run(script, seconds=10.0, waiter=None):
    return Command(["sh", "-c", script], seconds + 1).output(waiter or Patient(), soon(seconds))


def soon(seconds=10.0):
    return time.monotonic() + seconds


def gone(pid):
    """Return whether the process was ended and reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_status_and_both_outputs_are_returned():
    assert run("echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")


def test_status_of_a_killed_command_is_the_negative_signal_number():
    assert run("kill -9 $$")[0] == -signal.SIGKILL


def test_missing_program_is_reported():
    status, out, err = Command(["/nowhere/x"], 10).output(Patient(), soon())
    assert (status, out, err) == (NOT_RUN, "", "No such file or directory")


def test_command_without_an_answer_in_time_is_killed():
    command = Command(["sleep", "100"], 10)
    with pytest.raises(TimeoutError):
        command.output(Patient(), soon(0.02))
    assert gone(command._pid)


def test_command_that_closes_its_output_is_ended_at_the_deadline():
    command = Command(["sh", "-c", "trap '' ALRM TERM; exec >&- 2>&-; exec sleep 100"], 10)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        command.output(Patient(), soon(0.2))
    assert time.monotonic() - began < 5 and gone(command._pid)


def test_exit_after_closed_output_is_polled_at_once_and_then_less_often():
    rests = []

    class Recording(Patient):
        def wait(self, events, deadline):
            if not events:
                rests.append(deadline - time.monotonic())
            return super().wait(events, deadline)

    assert run("exec >&- 2>&-; sleep 0.3", waiter=Recording())[0] == 0
    assert max(rests[:1]) <= 0.001 and 0.025 < max(rests) <= 0.05 and len(rests) < 20


def test_inherited_ignored_sigchld_does_not_hide_the_status():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert run("exit 3")[0] == 3
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_command_with_too_much_output_is_killed():
    command = Command(["sh", "-c", "head -c 100000 /dev/zero; exec sleep 100"], 10)
    status, out, _ = command.output(Patient(), soon())
    assert status == -signal.SIGKILL and 65536 < len(out) <= 100000 and gone(command._pid)


def test_stop_ends_a_running_command():
    class Stopping(Patient):
        def wait(self, events, deadline):
            raise Stopped("SIGTERM")

    command = Command(["sleep", "100"], 10)
    with pytest.raises(Stopped):
        command.output(Stopping(), soon())
    assert gone(command._pid)


def test_command_leaves_no_descriptor_open():
    before = set(os.listdir("/proc/self/fd"))
    run("true")
    assert set(os.listdir("/proc/self/fd")) == before


def test_kernel_timer_ends_a_command_whose_output_is_never_read():
    # Nobody reads the output, as after a kill of the helper. The command must not inherit the ignored signal.
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        command = Command(["sleep", "100"], 0.03)
        _, status = os.waitpid(command._pid, 0)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        signal.signal(signal.SIGALRM, before)
    assert os.WTERMSIG(status) == signal.SIGALRM


def test_invalid_utf_8_of_a_command_is_escaped():
    assert run("printf 'a\\377b'")[1] == "a\\xffb"


def test_testparm_is_run_for_the_netbios_name_only(monkeypatch):
    made = []
    monkeypatch.setattr(commands, "Command", lambda *args: made.append(args))
    ask_testparm()
    assert made == [(["testparm", "-s", "--parameter-name=netbios name"], 11.0)]


@pytest.mark.parametrize(
    "answer, number",
    [((0, "3\n", ""), 3), ((0, "0", ""), 0), ((1, "3\n", ""), None), ((0, "x\n", ""), None), ((0, "-1\n", ""), None)],
)
def test_node_number_is_that_of_ctdb_or_unknown(monkeypatch, answer, number):
    class Answered:
        def __init__(self, argv, seconds):
            assert argv == ["ctdb", "pnn"] and seconds <= 2

        def output(self, waiter, deadline):
            return answer

    monkeypatch.setattr(commands, "Command", Answered)
    assert NodeNumber(None, soon())() == number


def test_node_number_is_unknown_if_ctdb_does_not_answer(monkeypatch):
    class Late:
        def __init__(self, *_):
            pass

        def output(self, waiter, deadline):
            raise TimeoutError

    monkeypatch.setattr(commands, "Command", Late)
    assert NodeNumber(None, soon())() is None
