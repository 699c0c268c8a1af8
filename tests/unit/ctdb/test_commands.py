# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What is asked of other programs: their answer, or an end in time; nothing of them stays. The programs are real."""

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
    """Whether it was ended and reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_status_and_both_outputs_are_returned():
    assert run("echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")


def test_an_end_by_a_signal_is_its_negative_number():
    assert run("kill -9 $$")[0] == -signal.SIGKILL


def test_a_program_that_is_not_there_is_known():
    status, out, err = Command(["/nowhere/x"], 10).output(Patient(), soon())
    assert (status, out, err) == (NOT_RUN, "", "No such file or directory")


def test_one_that_is_late_is_ended():
    command = Command(["sleep", "100"], 10)
    with pytest.raises(TimeoutError):
        command.output(Patient(), soon(0.02))
    assert gone(command._pid)


def test_one_that_closes_its_output_and_goes_on_is_ended_at_the_deadline():
    command = Command(["sh", "-c", "trap '' ALRM TERM; exec >&- 2>&-; exec sleep 100"], 10)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        command.output(Patient(), soon(0.2))
    assert time.monotonic() - began < 5 and gone(command._pid)


def test_an_inherited_ignored_sigchld_hides_no_status():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert run("exit 3")[0] == 3
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_one_that_floods_is_ended():
    command = Command(["sh", "-c", "head -c 100000 /dev/zero; exec sleep 100"], 10)
    status, out, _ = command.output(Patient(), soon())
    assert status == -signal.SIGKILL and 65536 < len(out) <= 100000 and gone(command._pid)


def test_a_stop_while_it_runs_ends_it():
    class Stopping(Patient):
        def wait(self, events, deadline):
            raise Stopped("SIGTERM")

    command = Command(["sleep", "100"], 10)
    with pytest.raises(Stopped):
        command.output(Stopping(), soon())
    assert gone(command._pid)


def test_no_descriptor_stays():
    before = set(os.listdir("/proc/self/fd"))
    run("true")
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_kernel_timer_ends_it_if_nobody_asks_for_its_output_any_more():
    # As when we are killed. An ignored signal would be inherited.
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        command = Command(["sleep", "100"], 0.03)
        _, status = os.waitpid(command._pid, 0)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        signal.signal(signal.SIGALRM, before)
    assert os.WTERMSIG(status) == signal.SIGALRM


def test_nonsense_is_shown_escaped():
    assert run("printf 'a\\377b'")[1] == "a\\xffb"


def test_testparm_is_asked_for_the_name_alone(monkeypatch):
    made = []
    monkeypatch.setattr(commands, "Command", lambda *args: made.append(args))
    ask_testparm()
    assert made == [(["testparm", "-s", "--parameter-name=netbios name"], 11.0)]


@pytest.mark.parametrize(
    "answer, number",
    [((0, "3\n", ""), 3), ((0, "0", ""), 0), ((1, "3\n", ""), None), ((0, "x\n", ""), None), ((0, "-1\n", ""), None)],
)
def test_the_nodes_number_is_what_ctdb_says_or_unknown(monkeypatch, answer, number):
    class Answered:
        def __init__(self, argv, seconds):
            assert argv == ["ctdb", "pnn"] and seconds <= 2

        def output(self, waiter, deadline):
            return answer

    monkeypatch.setattr(commands, "Command", Answered)
    assert NodeNumber(None, soon())() == number


def test_a_ctdb_that_does_not_answer_is_a_number_unknown(monkeypatch):
    class Late:
        def __init__(self, *_):
            pass

        def output(self, waiter, deadline):
            raise TimeoutError

    monkeypatch.setattr(commands, "Command", Late)
    assert NodeNumber(None, soon())() is None
