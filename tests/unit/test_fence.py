# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the fence: when it ends the process by each clock, and that nothing in the process can prevent this."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ctdb_etcd import fence as fence_module
from ctdb_etcd.errors import Lost
from ctdb_etcd.fence import LEAST_TRY, Fence, Grant, fits, margin, now
from tests.support.fakes import Clock, Killed, sent
from tests.support.forks import fork

# Seconds of a lease, and how long before its end the process ends: 1 s, or a quarter of a short lease.
TTLS = [(1, 0.25), (2, 0.5), (3, 0.75), (3.96, 0.99), (4, 1), (5, 1), (9, 1), (60, 1), (3600, 1)]


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.mark.parametrize("ttl, early", TTLS)
@pytest.mark.parametrize("age", [0.0, 0.5])
def test_kernel_ends_the_process_a_second_or_a_quarter_before_its_lease(clock, ttl, early, age):
    grant = Grant(now(), ttl)
    clock.pass_(age)
    fence = Fence(grant)
    assert fence.left() == grant.usable() == pytest.approx(ttl - early - age)
    with pytest.raises(Killed):
        clock.pass_(2 * ttl)
    assert clock.now == pytest.approx(sent(grant) + ttl - early)
    assert margin(ttl) == pytest.approx(early)


def test_each_grant_moves_the_fence_to_its_own_end(clock):
    first = Grant(now(), 9)
    fence = Fence(first)
    clock.pass_(2)
    second = Grant(now(), 9)
    clock.pass_(1)
    fence.arm(second)
    assert fence.left() == second.usable() == 7
    assert clock.alarm == sent(second) + 8
    # The timer also moves to an earlier end, although no renewal has one.
    fence.arm(first)
    assert fence.left() == first.usable() == 5 and clock.alarm == sent(first) + 8


def test_renewal_at_once_leaves_the_timer_until_it_gains_enough(clock):
    grants = [Grant(now(), 9)]
    fence = Fence(grants[0])
    for _ in range(4):
        clock.pass_(0.1)
        grants.append(Grant(now(), 9))
        fence.arm(grants[-1])
    assert len(clock.armed) == 3
    assert fence.left() == pytest.approx(7.9) and clock.alarm == pytest.approx(sent(grants[3]) + 8)


@pytest.mark.parametrize("gained, set", [(0.0, 1), (0.125, 1), (0.25, 3), (0.5, 3), (-0.125, 3)])
def test_renewal_gaining_under_a_quarter_of_the_margin_sets_no_timer(clock, gained, set):
    fence = Fence(Grant(now(), 9))
    clock.pass_(gained)
    fence.arm(Grant(now(), 9 if gained >= 0 else 9 + gained))
    assert len(clock.armed) == set


def test_renewal_just_after_a_sleep_counts_though_the_timer_is_good(clock):
    fence = Fence(Grant(now(), 9))
    clock.pass_(0.1)
    clock.suspend(6.5)
    fence.arm(Grant(now(), 9))
    assert fence.left() == pytest.approx(8)


@pytest.mark.parametrize("ttl, quarter", [(2, 0.125), (9, 0.25)])
def test_a_renewal_first_sets_the_timer_to_a_quarter_of_the_margin(clock, ttl, quarter):
    fence = Fence(Grant(now(), ttl))
    clock.pass_(1)
    fence.arm(Grant(now(), ttl))
    assert clock.armed[1:] == [(clock.now, quarter), (clock.now, ttl - margin(ttl))]


def each_two_stops(monkeypatch, seconds):
    """Yield a clock and a function for each two calls before which a process can be stopped while it sets the timer.

    The function, called once, plans a stop before each of the two calls, for these seconds. Its argument is called
    after each stop.
    """
    for first in range(8):
        for second in range(first + 1, 9):
            with monkeypatch.context() as patch:
                clock = Clock(patch)
                plan = {first: seconds[0], second: seconds[1]}
                yield clock, lambda after=lambda: None: stop_before_calls(patch, clock, plan, after)


def stop_before_calls(patch, clock, plan, after):
    calls = iter(range(1000))
    for module, name in ((time, "clock_gettime"), (signal, "getitimer"), (signal, "setitimer")):

        def stopped(*args, real=getattr(module, name)):
            seconds = plan.get(next(calls))
            if seconds:
                clock.pass_(seconds)
                after()
            return real(*args)

        patch.setattr(module, name, stopped)


# Seconds of the first and of the second stop. A lease of 9 s leaves the process 8 s.
STOPS = [(0.2, 6.5), (1.2, 1.2), (1.2, 7), (3, 5.5), (5.9, 3), (7.9, 0.2), (0.2, 0.2), (9, 9)]


@pytest.mark.parametrize("seconds", STOPS)
def test_two_pauses_while_a_renewal_sets_the_timer_do_not_make_it_late(monkeypatch, seconds):
    for clock, stop in each_two_stops(monkeypatch, seconds):
        fence = Fence(Grant(now(), 9))
        clock.pass_(2)
        renewed = Grant(now(), 9)
        # The 8 s of the renewal plus a quarter of the margin.
        latest = clock.now + 8.25

        def alive():
            assert clock.now <= latest

        stop(alive)
        try:
            fence.arm(renewed)
            assert clock.alarm <= latest
        except (Killed, Lost):
            pass


@pytest.mark.parametrize("seconds", STOPS)
def test_two_pauses_before_the_first_timer_do_not_make_it_late(monkeypatch, seconds):
    for clock, stop in each_two_stops(monkeypatch, seconds):
        grant = Grant(now(), 9)
        end = clock.now + 8
        stop()
        try:
            Fence(grant)
            assert clock.now < end and clock.alarm <= end + 0.25
        except (Killed, Lost):
            # Stops that together are shorter than the lease are compensated: none of them ends the process early.
            assert clock.now >= end


@pytest.mark.parametrize("age", [8.0, 8.5, 9.0, 1000.0])
def test_grant_that_is_too_old_is_a_loss_and_sets_no_timer(clock, age):
    grant = Grant(now(), 9)
    clock.pass_(age)
    with pytest.raises(Lost):
        Fence(grant)
    assert not clock.armed


def stop_before_setting(clock, *seconds):
    """Stop the process for these seconds in turn, each time that it is about to set its timer."""

    def stop():
        clock.now_is(clock.now + seconds[0])
        stop_before_setting(clock, *seconds[1:])

    if seconds:
        clock.when_set(stop)


@pytest.mark.parametrize("stops, set", [([0.03], 1), ([0.0625], 2), ([3.0], 2), ([3.0, 1.0], 3), ([3.0, 0.03], 2)])
def test_pause_before_the_timer_is_set_does_not_make_it_late(clock, stops, set):
    grant = Grant(now(), 9)
    stop_before_setting(clock, *stops)
    Fence(grant)
    assert len(clock.armed) == set
    assert sent(grant) + 8 <= clock.alarm <= sent(grant) + 8.05


@pytest.mark.parametrize("stop, set", [(0.0625, 1), (0.125, 2)])
def test_timer_that_is_late_within_the_limit_is_not_set_again(monkeypatch, clock, stop, set):
    monkeypatch.setattr(fence_module, "_LATE", 0.0625)
    grant = Grant(now(), 9)
    stop_before_setting(clock, stop)
    Fence(grant)
    assert len(clock.armed) == set


@pytest.mark.parametrize("stop, lost", [(0.015625, False), (0.03125, True), (0.04, True)])
def test_short_pause_at_the_end_of_the_grant_is_a_loss(clock, stop, lost):
    grant = Grant(now(), 9)
    clock.pass_(8 - 0.03125)
    stop_before_setting(clock, stop)
    if lost:
        with pytest.raises(Lost):
            Fence(grant)
    else:
        assert Fence(grant).left() == 0.015625


def test_long_pause_before_the_timer_is_set_is_a_loss(clock):
    grant = Grant(now(), 9)
    stop_before_setting(clock, 8.5)
    with pytest.raises(Lost):
        Fence(grant)


@pytest.mark.parametrize("age, fresh", [(0, True), (4.25, True), (4.5, False), (4.75, False)])
def test_a_grant_is_fresh_for_less_than_half_of_its_time(clock, age, fresh):
    grant = Grant(now(), 9)
    clock.pass_(age)
    assert grant.fresh() is fresh


def test_suspended_time_counts(clock):
    grant = Grant(now(), 9)
    clock.pass_(1)
    clock.suspend(3)
    assert grant.left() == 5 and grant.usable() == 4
    fence = Fence(grant)
    assert fence.left() == 4 and clock.alarm == clock.now + 4
    clock.suspend(10)
    assert grant.left() == -5 and grant.usable() == fence.left() == -6


@pytest.mark.parametrize(
    "ttl, refresh, one_try, good",
    [(9, 2, 3, True), (9, 2.125, 3, False), (9, 2, 3.125, False), (2, 0.5, 0.5, True), (2, 0.625, 0.5, False)],
)
def test_times_must_leave_room_for_two_tries_after_a_failed_refresh(ttl, refresh, one_try, good):
    assert fits(ttl, refresh, one_try) is good


def test_each_of_the_two_tries_has_a_second():
    assert fits(9, 6, LEAST_TRY) and not fits(9, 6.0625, LEAST_TRY)


def ended_by(action):
    """Return the signal that ends a process that runs the action and then sleeps."""

    def child():
        action()
        time.sleep(10)

    return os.WTERMSIG(os.waitpid(fork(child), 0)[1])


@pytest.mark.parametrize("ttl", [0.04, 0.2])
def test_inherited_handler_or_signal_mask_does_not_stop_the_fence(ttl):
    def arm():
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        Fence(Grant(now(), ttl))

    began = time.monotonic()
    assert ended_by(arm) == signal.SIGALRM
    assert time.monotonic() - began < 5
