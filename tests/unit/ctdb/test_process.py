# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the helper as a child of CTDB: what ends a wait, and how soon."""

from __future__ import annotations

import os
import select
import signal
import time

import pytest

from ctdb_etcd.ctdb import process
from ctdb_etcd.ctdb.process import HelperWaiter
from ctdb_etcd.errors import Stopped
from tests.support.forks import in_child
from tests.support.watching import ENDING, clock as clock_fixture, parent as parent_fixture, pipe as pipe_fixture
from tests.support.watching import watch as watch_fixture

clock, parent, pipe, watch = clock_fixture, parent_fixture, pipe_fixture, watch_fixture

FOREVER = float("inf")


# Events that end a wait


def test_wait_without_a_stop_lasts_until_its_deadline(watch, clock):
    watch.check()
    until = clock.now + 5
    with pytest.raises(TimeoutError):
        watch.wait({}, until)
    assert until <= clock.now < until + 0.01


@pytest.mark.parametrize("number", ENDING)
def test_signal_before_a_wait_ends_it_with_the_signal_name(watch, clock, number):
    os.kill(os.getpid(), number)
    with pytest.raises(Stopped, match=number.name):
        watch.check()
    with pytest.raises(Stopped, match=number.name):
        watch.wait({}, clock.now + 5)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_a_wait_without_events_at_once(watch, clock, number):
    clock.at(clock.now + 2, lambda: os.kill(os.getpid(), number))
    began = clock.now
    with pytest.raises(Stopped):
        watch.wait({}, clock.now + 100)
    assert clock.now == began + 2


def test_first_of_two_signals_is_the_reason_for_the_stop(watch):
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Stopped):
        watch.check()
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped, match="SIGINT"):
        watch.check()


def test_watch_unblocks_the_signals_that_end_the_helper(clock, parent, request):
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    request.getfixturevalue("watch")
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(ENDING)


def test_end_of_the_parent_is_noticed_while_its_pid_remains(watch, clock, parent):
    # The process is not reaped, and the fake getppid still returns its pid. Only the pidfd shows the end.
    clock.at(clock.now + 2, parent.end)
    began = clock.now
    with pytest.raises(Stopped, match="parent process is gone"):
        watch.wait({}, clock.now + 100)
    assert clock.now == began + 2


def test_parent_that_ended_before_it_was_watched_is_noticed(watch, clock, monkeypatch):
    monkeypatch.setattr(os, "getppid", lambda: 1)
    with pytest.raises(Stopped, match="parent process is gone"):
        watch.check()


@pytest.mark.parametrize("lacks", ["kernel", "python"])
def test_parent_is_polled_without_pidfd(clock, parent, monkeypatch, request, lacks):
    def refuse(pid):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    if lacks == "python":
        monkeypatch.delattr(os, "pidfd_open")
    watch = request.getfixturevalue("watch")
    clock.at(clock.now + 2.05, lambda: monkeypatch.setattr(os, "getppid", lambda: 1))
    began = clock.now
    with pytest.raises(Stopped):
        watch.wait({}, FOREVER)
    assert clock.now < began + 2.05 + 0.25


def test_closed_reader_of_stdout_ends_the_helper():
    def child():
        reader, writer = os.pipe()
        os.dup2(writer, 1)
        watch = HelperWaiter(os.getppid())
        watch.check()
        os.close(reader)
        try:
            watch.wait({}, time.monotonic() + 5)
        except Stopped as stop:
            return stop

    assert in_child(child) == "nobody reads our stdout any more"


# Time for a pending request after a stop


def test_answer_within_half_a_second_of_the_stop_is_still_used(watch, clock, pipe):
    reader, writer = pipe
    clock.at(clock.now + 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    clock.at(clock.now + 1.4, lambda: os.write(writer, b"."))
    assert watch.wait({reader: select.POLLIN}, clock.now + 100) == {reader}
    # No new request is started.
    with pytest.raises(Stopped):
        watch.check()


def test_answer_within_half_a_second_is_used_without_pidfd_too(clock, parent, pipe, monkeypatch, request):
    monkeypatch.setattr(process, "_pidfd", lambda pid: None)
    watch = request.getfixturevalue("watch")
    clock.at(clock.now + 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    clock.at(clock.now + 1.45, lambda: os.write(pipe[1], b"."))
    assert watch.wait({pipe[0]: select.POLLIN}, clock.now + 100) == {pipe[0]}


def test_answer_over_half_a_second_after_the_stop_is_abandoned(watch, clock, pipe):
    began = clock.now
    clock.at(began + 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped, match="SIGTERM"):
        watch.wait({pipe[0]: select.POLLIN}, began + 100)
    assert began + 1.5 <= clock.now < began + 1.51
    # All waits share this time.
    with pytest.raises(Stopped):
        watch.wait({pipe[0]: select.POLLIN}, began + 100)
    assert clock.now < began + 1.52


def test_second_stop_does_not_delay_the_first(watch, clock, pipe, monkeypatch):
    began = clock.now
    clock.at(began + 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    clock.at(began + 1.2, lambda: monkeypatch.setattr(os, "getppid", lambda: 1))
    with pytest.raises(Stopped, match="SIGTERM"):
        watch.wait({pipe[0]: select.POLLIN}, began + 100)
    assert clock.now < began + 1.51
    with pytest.raises(Stopped, match="SIGTERM"):
        watch.check()


def test_wait_ends_at_its_own_deadline_if_that_is_before_the_grace(watch, clock, pipe):
    began = clock.now
    clock.at(began + 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises((TimeoutError, Stopped)):
        watch.wait({pipe[0]: select.POLLIN}, began + 1.2)
    assert began + 1.2 <= clock.now < began + 1.21


def test_only_deadlines_end_a_wait_during_the_release(watch, clock, pipe):
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped):
        watch.check()
    watch.release()
    watch.check()
    began = clock.now
    os.kill(os.getpid(), signal.SIGINT)
    for events in {}, {pipe[0]: select.POLLIN}:
        with pytest.raises(TimeoutError):
            watch.wait(events, clock.now + 2)
    assert clock.now >= began + 4


def test_a_wait_returns_what_is_ready_and_nothing_else(watch, clock, pipe):
    reader, writer = pipe
    with pytest.raises(TimeoutError):
        watch.wait({reader: select.POLLIN}, clock.now)
    assert watch.wait({reader: select.POLLIN, writer: select.POLLOUT}, clock.now + 1) == {writer}
    os.write(writer, b".")
    # An event that is ready counts even after the deadline.
    assert watch.wait({reader: select.POLLIN}, clock.now - 1) == {reader}


# The rest between two refreshes


def test_rest_lasts_until_its_moment(watch, clock, pipe):
    until = clock.now + 5
    assert watch.rest({pipe[0]: select.POLLIN}, until) is False
    assert until <= clock.now < until + 0.01
    assert watch.rest({}, clock.now) is False
    began = clock.now
    assert watch.rest({}, began + 0.5) is False and clock.now >= began + 0.5


@pytest.mark.parametrize("more", [{}, "pipe"])
def test_stop_ends_a_rest_at_once(watch, clock, pipe, more):
    began = clock.now
    clock.at(began + 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped, match="SIGTERM"):
        watch.rest({pipe[0]: select.POLLIN} if more else {}, began + 100)
    assert clock.now == began + 2
    with pytest.raises(Stopped):
        watch.rest({}, clock.now - 1)


def test_event_ends_a_rest(watch, clock, pipe):
    reader, writer = pipe
    began = clock.now
    clock.at(began + 2, lambda: os.write(writer, b"."))
    assert watch.rest({reader: select.POLLIN}, began + 100) is True
    assert clock.now == began + 2


def test_rest_looks_for_the_parent_five_times_a_second(clock, parent, pipe, monkeypatch, request):
    monkeypatch.setattr(process, "_pidfd", lambda pid: None)
    watch = request.getfixturevalue("watch")
    began, looks = clock.now, []
    monkeypatch.setattr(os, "getppid", lambda: looks.append(clock.now) or parent.pid)
    clock.at(began + 1, lambda: os.write(pipe[1], b"."))
    assert watch.rest({pipe[0]: select.POLLIN}, began + 9) is True
    gaps = sorted({round(after - before, 3) for before, after in zip(looks, looks[1:])} - {0.0})
    assert gaps[-1] == 0.2 and clock.now < began + 1.01


def test_wait_after_its_deadline_looks_once(watch, clock, pipe):
    with pytest.raises(TimeoutError):
        watch.wait({pipe[0]: select.POLLIN}, clock.now - 3)
    assert clock.now == 1024


def test_signals_beyond_the_pipe_are_no_warning(watch, capfd):
    for _ in range(70000):
        os.kill(os.getpid(), signal.SIGHUP)
    assert capfd.readouterr().err == ""
    with pytest.raises(Stopped, match="SIGHUP"):
        watch.check()
