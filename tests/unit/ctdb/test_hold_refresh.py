# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of holding: when a refresh is due, what a failure means, and that the holder ends before its lease."""

from __future__ import annotations

import pytest

from ctdb_etcd.ctdb import hold
from ctdb_etcd.errors import Lost, Refused, Unavailable
from ctdb_etcd.fence import Grant, now
from tests.support.fakes import Killed, sent
from tests.support.life import REFRESH, TOOK, TTL, end_of
from tests.support.life import life as life_fixture

life = life_fixture


# Holding


def test_fence_is_armed_only_by_a_good_refresh_for_its_own_grant(life):
    grants = [life.granted(TTL) for _ in range(2)]
    answers = [Unavailable("x"), grants[0], Refused("x"), grants[1]]

    def answer():
        outcome = answers.pop(0)
        if isinstance(outcome, Grant):
            outcome.sent = now()
        return outcome

    life.lock.plan("refresh", *[answer] * 4, Lost(""))
    life.run()
    # Each renewal sets the timer twice: to a quarter of the margin, then to the end of its grant.
    assert life.clock.armed[2::2] == [
        (sent(grant), pytest.approx(end_of(grant) - sent(grant))) for grant in grants
    ]
    assert life.events.count("refresh") == 5


def test_refresh_is_due_one_interval_after_the_last_one_was_sent(life):
    asked = []
    life.lock.plan("refresh", *[lambda: asked.append(life.clock.now - TOOK)] * 3, Lost(""))
    began = life.clock.now + TOOK
    life.run()
    assert asked == [began + REFRESH, began + 2 * REFRESH, began + 3 * REFRESH]


def test_refresh_has_a_deadline_shortly_before_the_fence(life):
    life.lock.plan("refresh", Lost(""))
    life.run()
    (deadline,) = life.lock.deadlines["refresh"]
    assert deadline == pytest.approx(life.clock.alarm - 0.2)


TTLS = [(2, 0.5), (3, 0.75), (4, 1), (5, 1), (9, 1), (60, 1)]


@pytest.mark.parametrize("ttl, early", TTLS)
def test_hanging_holder_is_ended_by_the_kernel_before_its_lease(life, ttl, early):
    grant = life.granted(ttl)
    life.lock.plan("take", grant)
    life.lock.plan("refresh", lambda: life.clock.pass_(10000))
    with pytest.raises(Killed):
        life.run(refresh=ttl / 8)
    assert life.clock.now == pytest.approx(sent(grant) + ttl - early)


@pytest.mark.parametrize("ttl, early", TTLS)
def test_holder_with_silent_etcd_logs_why_and_ends_before_its_timer(life, ttl, early):
    life.lock.plan("refresh", *[lambda: silence(life)] * 200)
    grant = life.granted(ttl)
    life.lock.plan("take", grant)
    # The release gets no answer either.
    with pytest.raises(Killed):
        life.run(refresh=ttl / 8)
    assert life.clock.now == pytest.approx(sent(grant) + ttl - early)
    assert life.lock.deadlines["release"] == [pytest.approx(life.clock.now)]
    assert life.log.lines[-1].startswith("error: lost /the/lock/ at etcd1:2379")
    assert "it was not renewed in time: etcd1: no answer" in life.log.lines[-1]
    assert life.written == "0" and life.events[-2:] == ["end stdout", "release"]


def silence(life):
    """Fail a refresh after 0.75 s without an answer, or at its deadline if that is earlier."""
    life.clock.until(min(life.clock.now + 0.75, life.lock.deadlines["refresh"][-1]))
    return Unavailable("etcd1: no answer")


def test_holder_loses_the_lock_after_too_long_a_suspend(life):
    life.clock.at(life.clock.now + 1, lambda: life.clock.suspend(TTL))
    life.run()
    assert life.events[5:7] == ["end stdout", "release"]
    assert "it was not renewed in time" in life.log.lines[-1]


def test_suspend_is_noticed_within_a_second_whatever_the_interval(life):
    life.lock.plan("take", life.granted(3600))
    # The holder looks each second from half a second after the start on.
    resumed = life.clock.now + 2 * TOOK + 100.25
    life.clock.at(resumed, lambda: life.clock.suspend(4000))
    lost = []
    life.lock.plan("release", lambda: lost.append(life.clock.now - TOOK))
    life.run(refresh=1200)
    assert life.events[5:7] == ["end stdout", "release"] and lost == [resumed + 0.75]


@pytest.mark.parametrize("left, most", [(0.5, 0.5), (3.0, 1.2)])
def test_release_after_a_loss_ends_before_the_kernel_ends_it(life, left, most):
    life.lock.plan("take", lambda: life.granted(TTL, TTL - 1 - left - TOOK))
    life.lock.plan("refresh", Lost("y"))
    life.run()
    (deadline,) = life.lock.deadlines["release"]
    assert deadline == pytest.approx(life.clock.now - min(TOOK, most) + most)


def test_holder_renews_the_lock_after_a_short_suspend(life):
    life.clock.at(life.clock.now + 1, lambda: life.clock.suspend(TTL - 5))
    life.lock.plan("refresh", None, Lost(""))
    life.run()
    assert life.events[5:7] == ["refresh"] * 2


def test_failed_refresh_is_repeated_after_a_pause(life):
    asked = []

    def fail():
        asked.append(life.clock.now)
        return Unavailable("x")

    life.lock.plan("refresh", *[fail] * 3, Lost(""))
    life.run()
    assert [later - earlier for earlier, later in zip(asked, asked[1:])] == [0.5 + TOOK] * 2


@pytest.mark.parametrize("error", [Unavailable, Refused])
def test_a_failure_and_its_end_are_logged_once(life, error):
    life.lock.plan("refresh", error("x"), error("x"), error("y"), None, None, Lost("z"))
    life.run()
    lines = [line for line in life.log.lines if line.startswith("error: ")]
    assert [line.rpartition(": ")[2] for line in lines] == ["x", "y", "/the/lock/ is renewed again, at etcd1:2379", "z"]


@pytest.mark.parametrize("left, lines", [(1.25, 1), (1.5, 1), (1.75, 2)])
def test_failure_just_before_the_loss_is_not_logged_but_the_loss_is(life, left, lines):
    # `left` is the number of seconds that remain when the first try fails.
    life.lock.plan("take", lambda: life.granted(TTL, TTL - 1 - left - TOOK))
    life.lock.plan("refresh", Unavailable("x"), Lost("y"))
    life.run()
    errors = [line for line in life.log.lines if line.startswith("error: ")]
    assert len(errors) == lines and "lost /the/lock/" in errors[-1]
    if lines == 2:
        assert errors[0] == "error: /the/lock/ is not renewed, 1.8 s left: x"


@pytest.mark.parametrize("left, tried", [(0.25, False), (0.375, True)])
def test_refresh_does_not_begin_at_its_deadline(monkeypatch, life, left, tried):
    monkeypatch.setattr(hold, "_TO_LOG", 0.25)
    life.lock.plan("take", lambda: life.granted(TTL, TTL - 1 - left))
    life.lock.plan("refresh", Lost("y"))
    with pytest.raises(Killed):  # in the release
        life.run()
    assert ("refresh" in life.events) == tried
    assert ("it was not renewed in time" in life.log.lines[-1]) != tried


def test_a_holder_that_is_always_renewed_logs_no_error(life):
    life.lock.plan("refresh", None, None, Lost(""))
    life.run()
    assert [line for line in life.log.lines if line.startswith("error: ")] == life.log.lines[-1:]


def test_loss_ends_the_holder_at_once_and_frees_what_is_left_of_the_lock(life):
    life.lock.plan("refresh", None, Lost("its key is gone"))
    life.run()
    ends = ["refresh", "refresh", "end stdout", "release", "no nonce file"]
    assert life.events == ["look", "take", "say 0", "gc", "nonce file", *ends]
    assert "lost /the/lock/" in life.log.lines[-1] and "its key is gone" in life.log.lines[-1]


def test_a_holder_without_a_nonce_file_holds(life):
    def fail():
        raise OSError(30, "Read-only file system", "/run/ctdb/x")

    life.contender.nonce_file.leave = fail
    life.lock.plan("refresh", None, Lost(""))
    life.run()
    assert life.written == "0" and life.events.count("refresh") == 2
    line = "info: after a kill the lock is free only when its lease ends: "
    assert f"{line}[Errno 30] Read-only file system: '/run/ctdb/x'" in life.log.lines


# Changes between two refreshes


def test_change_renews_the_lock_at_once_but_at_most_once_a_second(life):
    life.lock.changes = lambda until: {7: 1}
    rest = life.waiter.rest
    life.waiter.rest = lambda events, until: True if events else rest(events, until)
    asked = []
    life.lock.plan("refresh", *[lambda: asked.append(life.clock.now - TOOK)] * 5, Lost(""))
    began = life.clock.now + TOOK
    life.run()
    gaps = [round(later - sooner, 3) for sooner, later in zip([began, *asked], asked)]
    assert gaps[0] <= 2 * TOOK and all(1.0 <= gap <= 1.0 + TOOK for gap in gaps[1:])


def test_second_change_is_noticed_long_before_the_next_refresh(life):
    changed = [life.clock.now + 1, life.clock.now + 4]
    life.lock.changes = lambda until: {7: 1}

    def rest(events, until):
        moment = min(changed[:1] + [until]) if events else until
        life.clock.until(moment)
        return bool(events) and moment in changed and not changed.remove(moment)

    life.waiter.rest = rest
    life.lock.plan("take", life.granted(60))
    life.lock.plan("refresh", None, Lost(""))
    began = life.clock.now
    life.run(refresh=20)
    assert life.events.count("refresh") == 2 and life.clock.now < began + 6


@pytest.mark.parametrize("refresh, most", [(REFRESH, 0.5), (0.375, 0.375)])
def test_opening_the_watch_ends_in_half_a_second_or_by_the_refresh(life, refresh, most):
    deadlines = []

    def changes(until):
        deadlines.append(until - life.clock.now)
        return {}

    life.lock.changes = changes
    life.lock.plan("take", lambda: life.granted(TTL))
    life.lock.plan("refresh", Lost(""))
    life.run(refresh)
    assert deadlines == [most]


@pytest.mark.parametrize("age, most, again", [(0.0, 0.5, 1.0), (1.25, 0.5, 0.75), (1.75, 0.25, 0.25)])
def test_watch_and_silence_after_news_end_when_the_refresh_is_due(life, age, most, again):
    untils, rests = [], []

    def rest(events, until):
        rests.append(until - life.clock.now)
        return bool(events)

    life.waiter.rest = rest
    life.lock.changes = lambda until: untils.append(until - life.clock.now) or {7: 1}
    life.lock.plan("take", lambda: life.granted(TTL, age))
    life.lock.plan("refresh", lambda: life.granted(TTL, age), Lost(""))
    life.run()
    assert untils == pytest.approx([most] * 2) and rests[1] == pytest.approx(again)
