# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of a machine that sleeps: a wait of its holder ends soon after, if the fence has passed meanwhile."""

from __future__ import annotations

import select

import pytest

from ctdb_etcd.errors import Lost
from ctdb_etcd.fence import Fence, Grant, now
from tests.support.watching import clock as clock_fixture, parent as parent_fixture, pipe as pipe_fixture
from tests.support.watching import watch as watch_fixture

clock, parent, pipe, watch = clock_fixture, parent_fixture, pipe_fixture, watch_fixture


@pytest.mark.parametrize("wait", ["wait", "wait for events", "rest"])
def test_fence_that_has_passed_during_a_sleep_is_a_loss_within_a_second(watch, clock, pipe, wait):
    watch.fence = Fence(Grant(now(), 9))
    woken = clock.now + 2.25
    clock.at(woken, lambda: clock.suspend(20))
    with pytest.raises(Lost, match="since this machine slept"):
        if wait == "rest":
            watch.rest({}, clock.now + 6)
        else:
            watch.wait({pipe[0]: select.POLLIN} if "events" in wait else {}, clock.now + 6)
    # It looks once a second, from the begin of the wait on.
    assert clock.now == woken + 0.75
    with pytest.raises(Lost):
        watch.check()
    watch.release()
    watch.check()


def test_lease_of_which_nothing_is_left_is_lost(watch, clock):
    watch.fence = Fence(Grant(now(), 9))
    clock.suspend(8)
    assert watch.fence.left() == 0
    with pytest.raises(Lost):
        watch.check()


def test_fence_that_has_not_passed_ends_no_wait(watch, clock):
    watch.fence = Fence(Grant(now(), 9))
    clock.at(clock.now + 2, lambda: clock.suspend(3))
    with pytest.raises(TimeoutError):
        watch.wait({}, clock.now + 4)
