# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of commands, with real programs: they answer or are ended in time, and leave nothing behind."""

from __future__ import annotations

import errno
import os
import select
import signal
import time

import pytest

from ctdb_etcd.ctdb import commands
from ctdb_etcd.ctdb.commands import Command, node_number, testparm as ask_testparm
from ctdb_etcd.errors import Stopped
from ctdb_etcd.waiting import Patient
from tests.support.fakes import Clock, Waiter

CLOSES_ITS_OUTPUT = ["sh", "-c", "trap '' ALRM TERM; exec >&- 2>&-; exec sleep 100"]


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


def wait_for_end(pid):
    """Wait for a child's end, and leave its status to the program."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def end_at_the_first_pause(monkeypatch, command):
    """Let a pause after a kill last until the command has ended, however slow the machine is."""
    monkeypatch.setattr(select, "select", lambda *_: wait_for_end(command._pid))


class Stopping(Patient):
    """A Waiter of a helper that must end."""

    def wait(self, events, deadline):
        raise Stopped("SIGTERM")


class Resting(Waiter):
    """A Waiter that waits for real output; only its rests pass on the fake clock."""

    def wait(self, events, deadline):
        if events:
            return Patient().wait(events, deadline + 60)
        assert deadline > self._clock.now
        return super().wait(events, deadline)


def test_status_and_both_outputs_are_returned():
    assert run("echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")


def test_status_of_a_killed_command_is_the_negative_signal_number():
    assert run("kill -9 $$")[0] == -signal.SIGKILL


def test_missing_program_is_reported():
    status, out, err = Command(["/nowhere/x"], 10).output(Patient(), soon())
    assert (status, out, err) == (127, "", "No such file or directory")


def test_command_without_an_answer_in_time_is_killed(monkeypatch):
    command = Command(["sleep", "100"], 10)
    end_at_the_first_pause(monkeypatch, command)
    with pytest.raises(TimeoutError):
        command.output(Patient(), soon(0.02))
    assert gone(command._pid)


def test_command_that_closes_its_output_is_killed_at_the_deadline(monkeypatch):
    command = Command(CLOSES_ITS_OUTPUT, 10)
    end_at_the_first_pause(monkeypatch, command)
    clock = Clock(monkeypatch)
    deadline = clock.now + 0.2
    with pytest.raises(TimeoutError):
        command.output(Resting(clock), deadline)
    assert clock.now == deadline and gone(command._pid)


def test_exit_after_closed_output_is_polled_at_once_then_less_often(monkeypatch):
    command = Command(CLOSES_ITS_OUTPUT, 10)
    clock = Clock(monkeypatch)
    waiter, began = Resting(clock), clock.now

    def end():
        os.kill(command._pid, signal.SIGKILL)
        wait_for_end(command._pid)

    clock.at(began + 0.18, end)
    assert command.output(waiter, began + 0.2)[0] == -signal.SIGKILL
    moments = [began, *waiter.waits]
    pauses = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.05, 0.05, 0.037]
    assert [after - before for before, after in zip(moments, moments[1:])] == pytest.approx(pauses)


def test_killed_command_that_hangs_in_the_kernel_is_left_soon(monkeypatch):
    command = Command(["sleep", "100"], 10)
    pauses = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "waitpid", lambda *_: (0, 0))
        patch.setattr(select, "select", lambda *args: pauses.append(args[3]))
        with pytest.raises(Stopped):
            command.output(Stopping(), soon())
    assert sum(pauses) == pytest.approx(0.1)
    os.waitpid(command._pid, 0)


def test_stop_reaps_a_command_that_has_just_ended_by_itself():
    command = Command(["true"], 10)
    wait_for_end(command._pid)
    with pytest.raises(Stopped):
        command.output(Stopping(), soon())
    assert gone(command._pid)


def test_inherited_ignored_sigchld_does_not_hide_the_status():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert run("exit 3")[0] == 3
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_command_with_too_much_output_is_killed():
    command = Command(["sh", "-c", "head -c 65537 /dev/zero; exec sleep 100"], 10)
    status, out, _ = command.output(Patient(), soon())
    assert (status, len(out)) == (-signal.SIGKILL, 65537) and gone(command._pid)


def test_longest_output_is_returned_and_its_command_not_killed(monkeypatch):
    kills = []
    monkeypatch.setattr(os, "kill", lambda *args: kills.append(args))
    status, out, _ = run("head -c 65536 /dev/zero")
    assert (status, len(out), kills) == (0, 65536, [])


def test_command_with_many_errors_is_not_killed_and_their_start_kept():
    status, out, err = run("echo name; echo begin >&2; head -c 200000 /dev/zero >&2")
    assert (status, out, len(err)) == (0, "name\n", 65537) and err.startswith("begin")


def test_stop_ends_a_running_command(monkeypatch):
    command = Command(["sleep", "100"], 10)
    end_at_the_first_pause(monkeypatch, command)
    with pytest.raises(Stopped):
        command.output(Stopping(), soon())
    assert gone(command._pid)


def test_command_leaves_no_descriptor_open():
    before = set(os.listdir("/proc/self/fd"))
    run("true")
    assert set(os.listdir("/proc/self/fd")) == before


def test_command_for_which_descriptors_are_lacking_keeps_none(monkeypatch):
    before = set(os.listdir("/proc/self/fd"))
    pipes = [os.pipe()]

    def pipe():
        if not pipes:
            raise OSError(errno.EMFILE, "Too many open files")
        return pipes.pop()

    with monkeypatch.context() as patch, pytest.raises(OSError) as failure:
        patch.setattr(os, "pipe", pipe)
        Command(["true"], 10)
    assert failure.value.errno == errno.EMFILE and set(os.listdir("/proc/self/fd")) == before


def test_command_for_which_a_process_is_lacking_keeps_no_descriptors(monkeypatch):
    def fork():
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(OSError):
        Command(["true"], 10)
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
    assert made == [(["testparm", "-s", "-l", "--parameter-name=netbios name"], 11.0)]


class Ctdb:
    """A double of Command: `ctdb pnn` with this outcome of output()."""

    def __init__(self, monkeypatch, outcome):
        self.outcome = outcome
        self.started = self.asked = None
        monkeypatch.setattr(commands, "Command", self)

    def __call__(self, argv, seconds):
        self.started = argv, seconds
        return self

    def output(self, waiter, deadline):
        self.asked = waiter, deadline
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize(
    "outcome, number",
    [
        ((0, "3\n", ""), 3),
        ((0, "0", ""), 0),
        ((1, "3\n", ""), None),
        ((0, "x\n", ""), None),
        ((0, "-1\n", ""), None),
        (TimeoutError(), None),
    ],
)
def test_node_number_is_that_of_ctdb_or_unknown(monkeypatch, outcome, number):
    Ctdb(monkeypatch, outcome)
    assert node_number(None, soon())() == number


def test_node_number_is_unknown_if_no_process_can_be_started(monkeypatch):
    def start(argv, seconds):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(commands, "Command", start)
    assert node_number(None, soon())() is None


@pytest.mark.parametrize("wanted, waited", [(4.0, 1.0), (0.25, 0.25)])
def test_node_number_is_waited_for_a_second_if_there_is_time(monkeypatch, wanted, waited):
    clock = Clock(monkeypatch)
    ctdb = Ctdb(monkeypatch, (0, "3\n", ""))
    waiter, began = Waiter(clock), clock.now
    number = node_number(waiter, began + wanted)
    clock.pass_(0.125)
    number()
    assert ctdb.started == (["ctdb", "pnn"], 2.0) and ctdb.asked == (waiter, began + waited)
