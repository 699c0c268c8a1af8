# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of tasks in threads and of waits: results, exceptions, deadlines, and a lack of threads."""

from __future__ import annotations

import _thread
import errno
import select
import time

import pytest

from ctdb_etcd.waiting import Patient, Task, ready, rest
from tests.support.fakes import Clock, Waiter
from tests.support.machine import descriptors


def finished(function):
    task = Task(function)
    Patient().wait({task.done: select.POLLIN}, time.monotonic() + 20)
    return task


def test_task_gives_its_result_or_exception_and_closes_its_descriptors():
    before = descriptors()
    assert finished(lambda: 7).result() == 7
    with pytest.raises(ZeroDivisionError):
        finished(lambda: 1 // 0).result()
    assert not descriptors() - before


def test_task_raises_oserror_if_no_thread_can_be_started(monkeypatch):
    def fail(*_):
        raise RuntimeError("can't start new thread")

    before = descriptors()
    monkeypatch.setattr(_thread, "start_new_thread", fail)
    with pytest.raises(OSError, match="no thread can be started") as failure:
        Task(int)
    assert failure.value.errno == errno.EAGAIN
    assert not descriptors() - before


def test_result_that_nobody_wants_leaves_no_descriptor():
    before = descriptors()
    finished(int).leave()
    assert not descriptors() - before


def test_rest_ends_at_its_moment(monkeypatch):
    clock = Clock(monkeypatch)
    rest(Waiter(clock), clock.now + 2)
    assert clock.now == 1026


class Poll:
    """A fake select.poll that returns `ready` at once. `lasted` lists the timeouts in milliseconds."""

    def __init__(self, monkeypatch, *ready):
        self.ready, self.lasted, self.registered = ready, [], {}
        monkeypatch.setattr(select, "poll", lambda: self)

    def register(self, fd, event):
        self.registered[fd] = event

    def poll(self, lasted):
        self.lasted.append(lasted)
        return [(fd, select.POLLERR) for fd in self.ready]


WHOLE = [(0.0, 0), (0.001, 1), (0.0011, 2), (1.0, 1000), (2.9991, 3000), (-1.0, 0), (float("inf"), None)]


@pytest.mark.parametrize("seconds, whole", WHOLE)
def test_poll_lasts_whole_milliseconds_and_ends_no_earlier(monkeypatch, seconds, whole):
    poll = Poll(monkeypatch, 7)
    assert ready({7: select.POLLIN}, seconds) == {7} and poll.lasted == [whole]


@pytest.mark.parametrize("left, lasted", [(2.5, 2500), (0.0, 0), (-3.0, 0)])
def test_patient_waits_for_what_is_left_to_the_deadline(monkeypatch, left, lasted):
    clock = Clock(monkeypatch)
    poll = Poll(monkeypatch)
    with pytest.raises(TimeoutError, match="^no answer in time$"):
        Patient().wait({7: select.POLLIN}, clock.now + left)
    assert poll.lasted == [lasted] and poll.registered == {7: select.POLLIN}


def test_patient_returns_what_is_ready_even_after_the_deadline(monkeypatch):
    clock = Clock(monkeypatch)
    Poll(monkeypatch, 7)
    assert Patient().wait({7: select.POLLIN, 8: select.POLLOUT}, clock.now - 1) == {7}
