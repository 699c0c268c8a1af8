# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What is done in a thread: its result, its exception, and a machine without a thread or descriptor left."""

from __future__ import annotations

import _thread
import errno
import select
import time

import pytest

from ctdb_etcd.waiting import Patient, Task
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
