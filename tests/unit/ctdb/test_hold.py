# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The life of a lock: in what order things happen, what CTDB reads, and that the end comes before the lease's."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest

from ctdb_etcd.ctdb.hold import Limit, run
from ctdb_etcd.errors import Contended, Lost, Refused, Stopped, Unavailable
from ctdb_etcd.fence import Grant, Moment, margin
from tests.support.fakes import Clock, Killed, Lock, Log, Waiter

TTL, REFRESH, ACQUIRE = 9, 2.0, 4.0
TOOK = Lock.TOOK


class Life:
    """One helper's life over a lock that the test plans; `events` is what happens, in order."""

    def __init__(self, monkeypatch):
        self.clock = Clock(monkeypatch)
        self.waiter, self.log, self.events = Waiter(self.clock), Log(), []
        self.lock = Lock(self.clock, self.events, TTL)
        nonce_file = SimpleNamespace(leave=lambda: self.note("nonce file"), remove=lambda: self.note("no nonce file"))
        self.contender = SimpleNamespace(nonce_file=nonce_file)
        self.written = ""
        self.alarm_when_written = None

    def note(self, event):
        self.events.append(event)

    def write(self, character):
        if not self.written:
            self.note(f"say {character}")
            self.written = character
            self.alarm_when_written = self.clock.alarm

    def fail(self, error):
        self.note("fail")

    def end(self):
        self.note("end stdout")

    def run(self, refresh=REFRESH):
        run(refresh, self.lock, self.contender, Limit(self.clock.now, ACQUIRE), self.waiter, self, self.log)

    def granted(self, ttl=TTL, age=0.0):
        """A grant that was asked for `age` seconds ago."""
        now = Moment.now()
        return Grant(Moment(now.monotonic - age, now.boottime - age), ttl)


@pytest.fixture
def life(monkeypatch):
    life = Life(monkeypatch)
    monkeypatch.setattr(gc, "enable", lambda: life.note("gc"))
    return life


def end_of(grant):
    """When the process has to be gone."""
    return grant.sent.monotonic + grant.ttl - margin(grant.ttl)


# Before the character


def test_the_fence_is_armed_for_the_very_grant_before_the_character_is_written(life):
    grant = life.granted(7, age=1.5)
    life.lock.plan("take", grant)
    life.lock.plan("refresh", Lost(""))
    life.run()
    assert life.events == ["look", "take", "say 0", "gc", "nonce file", "refresh"]
    assert life.alarm_when_written == end_of(grant)
    assert len(life.clock.armed) == 1


@pytest.mark.parametrize("left, said", [(1.25, "0"), (1.0, "2"), (0.0, "2"), (-5.0, "2")])
def test_a_grant_of_which_nothing_is_left_but_the_margin_is_no_lock(life, left, said):
    life.lock.plan("take", lambda: life.granted(TTL, TTL - left))
    life.lock.plan("refresh", Lost(""))
    life.run()
    assert life.written == said
    assert life.events[2:4] == (["say 0", "gc"] if said == "0" else ["say 2", "release"])
    assert bool(life.clock.armed) == (said == "0")


def test_every_answer_is_due_within_half_a_second_of_the_acquire_timeout(life):
    began = life.clock.now
    life.lock.plan("refresh", Lost(""))
    life.run()
    assert life.lock.deadlines["look"] == [began + ACQUIRE]
    assert life.lock.deadlines["take"] == [pytest.approx(began + ACQUIRE + 0.3)]


def test_a_signal_just_before_the_fence_is_no_lock(life):
    life.clock.at(life.clock.now + 2 * TOOK, lambda: setattr(life.waiter, "stop", "SIGTERM"))
    life.run()
    assert life.events == ["look", "take", "end stdout", "release", "no nonce file"] and life.written == ""


@pytest.mark.parametrize("stopped", [0.06, 3, 100])
def test_a_stop_while_the_timer_is_set_moves_neither_the_timer_nor_the_end(life, stopped):
    life.clock.when_set(lambda: life.clock.now_is(life.clock.now + stopped))
    grant = life.granted(9)
    life.lock.plan("take", grant)
    life.lock.plan("refresh", Lost(""))
    life.run()
    if stopped < 8:
        assert life.written == "0" and life.alarm_when_written == pytest.approx(end_of(grant))
    else:
        assert life.written == "2" and life.events[-1] == "release"


def test_a_stop_while_a_renewal_sets_the_timer_does_not_move_it(life):
    grants = []

    def renewed():
        grants.append(life.granted(9))
        life.clock.when_set(lambda: life.clock.now_is(life.clock.now + 4))
        return grants[0]

    life.lock.plan("refresh", renewed, Lost(""))
    life.run()
    assert life.clock.alarm == pytest.approx(end_of(grants[0]))


def test_a_bug_after_the_character_ends_the_lock_at_once(life):
    life.lock.plan("refresh", ValueError("a bug"))
    with pytest.raises(ValueError):
        life.run()
    assert life.events[-2:] == ["fail", "release"]


# Holding


def test_each_refresh_that_succeeds_arms_the_fence_for_its_own_grant_and_no_other_does(life):
    grants = [life.granted(TTL) for _ in range(2)]
    answers = [Unavailable("x"), grants[0], Refused("x"), grants[1]]

    def answer():
        outcome = answers.pop(0)
        if isinstance(outcome, Grant):
            outcome.sent = Moment.now()
        return outcome

    life.lock.plan("refresh", *[answer] * 4, Lost(""))
    life.run()
    assert life.clock.armed[1:] == [
        (grant.sent.monotonic, pytest.approx(end_of(grant) - grant.sent.monotonic)) for grant in grants
    ]
    assert life.events.count("refresh") == 5


def test_a_refresh_is_due_after_its_time_from_before_the_last_one_was_sent(life):
    asked = []
    life.lock.plan("refresh", *[lambda: asked.append(life.clock.now - TOOK)] * 3, Lost(""))
    began = life.clock.now + TOOK
    life.run()
    assert asked == [began + REFRESH, began + 2 * REFRESH, began + 3 * REFRESH]


def test_a_refresh_has_until_a_moment_before_the_fence(life):
    life.lock.plan("refresh", Lost(""))
    life.run()
    (deadline,) = life.lock.deadlines["refresh"]
    assert deadline == pytest.approx(life.clock.alarm - 0.2)


TTLS = [(2, 0.5), (3, 0.75), (4, 1), (5, 1), (9, 1), (60, 1)]


@pytest.mark.parametrize("ttl, early", TTLS)
def test_a_holder_that_hangs_is_ended_by_the_kernel_the_margin_before_its_lease(life, ttl, early):
    grant = life.granted(ttl)
    life.lock.plan("take", grant)
    life.lock.plan("refresh", lambda: life.clock.pass_(10000))
    with pytest.raises(Killed):
        life.run(refresh=ttl / 8)
    assert life.clock.now == pytest.approx(grant.sent.monotonic + ttl - early)


@pytest.mark.parametrize("ttl, early", TTLS)
def test_a_holder_whose_etcd_is_silent_says_why_and_ends_just_before_the_kernel_does_it(life, ttl, early):
    life.lock.plan("refresh", *[lambda: silence(life)] * 200)
    grant = life.granted(ttl)
    life.lock.plan("take", grant)
    life.run(refresh=ttl / 8)
    assert life.clock.now == pytest.approx(grant.sent.monotonic + ttl - early - 0.2)
    assert life.log.lines[-1].startswith("error: lost /the/lock/ at etcd1:2379")
    assert "it was not renewed in time: etcd1: no answer" in life.log.lines[-1]
    assert life.written == "0" and "release" not in life.events


def silence(life):
    """No answer, up to a deadline that is at most a second away."""
    life.clock.until(min(life.clock.now + 0.75, life.lock.deadlines["refresh"][-1]))
    return Unavailable("etcd1: no answer")


def test_a_machine_that_slept_for_too_long_has_lost_the_lock_when_it_wakes(life):
    life.clock.at(life.clock.now + 1, lambda: life.clock.suspend(TTL))
    life.run()
    assert life.events == ["look", "take", "say 0", "gc", "nonce file"]
    assert "it was not renewed in time" in life.log.lines[-1]


def test_a_machine_that_slept_for_a_moment_renews_the_lock(life):
    life.clock.at(life.clock.now + 1, lambda: life.clock.suspend(TTL - 5))
    life.lock.plan("refresh", None, Lost(""))
    life.run()
    assert life.events[5:] == ["refresh"] * 2


def test_a_refresh_that_fails_is_repeated_after_a_moment(life):
    asked = []

    def fail():
        asked.append(life.clock.now)
        return Unavailable("x")

    life.lock.plan("refresh", *[fail] * 3, Lost(""))
    life.run()
    assert [later - earlier for earlier, later in zip(asked, asked[1:])] == [0.5 + TOOK] * 2


@pytest.mark.parametrize("error", [Unavailable, Refused])
def test_a_failure_is_said_once_and_its_end_too(life, error):
    life.lock.plan("refresh", error("x"), error("x"), error("y"), None, None, Lost("z"))
    life.run()
    lines = [line for line in life.log.lines if line.startswith("error: ")]
    assert [line.rpartition(": ")[2] for line in lines] == ["x", "y", "/the/lock/ is renewed again, at etcd1:2379", "z"]


def test_of_a_failure_just_before_the_loss_only_the_loss_is_logged(life):
    # The first try is the last one: 1.25 s are left when it fails.
    life.lock.plan("take", lambda: life.granted(TTL, TTL - 2.5))
    life.lock.plan("refresh", Unavailable("x"), Lost("y"))
    life.run()
    (line,) = (line for line in life.log.lines if line.startswith("error: "))
    assert "lost /the/lock/" in line


def test_a_definite_loss_ends_it_at_once(life):
    life.lock.plan("refresh", None, Lost("its key is gone"))
    life.run()
    assert life.events == ["look", "take", "say 0", "gc", "nonce file", "refresh", "refresh"]
    assert "lost /the/lock/" in life.log.lines[-1] and "its key is gone" in life.log.lines[-1]


def test_a_holder_without_a_nonce_file_holds(life):
    def fail():
        raise OSError(30, "Read-only file system", "/run/ctdb/x")

    life.contender.nonce_file.leave = fail
    life.lock.plan("refresh", None, Lost(""))
    life.run()
    assert life.written == "0" and life.events.count("refresh") == 2


# What CTDB reads, and what is given back before


OUTCOMES = [
    (Contended("them"), "1"),
    (Unavailable("x"), "2"),
    (Refused("x"), "3"),
    (Lost("x"), "2"),
]


@pytest.mark.parametrize("outcome, said", OUTCOMES, ids=lambda part: type(part).__name__)
@pytest.mark.parametrize("verb", ["look", "take"])
def test_without_the_lock_all_is_given_back_and_then_the_character_written(life, verb, outcome, said):
    life.lock.plan(verb, outcome)
    life.run()
    assert life.events == ["look", "take"][: 1 + (verb == "take")] + [f"say {said}", "release"]
    assert not life.clock.armed and life.waiter.releasing


@pytest.mark.parametrize("verb", ["look", "take", "refresh"])
def test_an_end_that_is_asked_for_is_seen_by_ctdb_before_the_lock_is_given_back(life, verb):
    life.lock.plan(verb, Stopped("SIGTERM"))
    life.run()
    assert life.events[-3:] == ["end stdout", "release", "no nonce file"]
    assert life.written == ("0" if verb == "refresh" else "") and life.waiter.releasing


def test_an_end_while_resting_gives_the_lock_back(life):
    life.waiter.stop_at(life.clock.now + 1)
    life.run()
    assert life.events == ["look", "take", "say 0", "gc", "nonce file", "end stdout", "release", "no nonce file"]


def test_giving_back_is_bounded(life):
    life.lock.plan("take", Contended("them"))
    life.run()
    assert life.lock.deadlines["release"] == [life.clock.now - TOOK + 1.2]


@pytest.mark.parametrize("failure", [Unavailable("x"), Refused("x")])
def test_what_cannot_be_given_back_changes_nothing(life, failure):
    life.lock.plan("take", Contended("them"))
    life.lock.plan("release", failure)
    life.run()
    assert life.written == "1" and any("is left to its lease's end: x" in line for line in life.log.lines)


# News between two refreshes


def test_news_renews_at_once_but_never_twice_in_a_row(life):
    life.lock.changes = lambda until: {7: 1}
    rest = life.waiter.rest
    life.waiter.rest = lambda events, until: True if events else rest(events, until)
    asked = []
    life.lock.plan("refresh", *[lambda: asked.append(life.clock.now - TOOK)] * 5, Lost(""))
    began = life.clock.now + TOOK
    life.run()
    # Early, then when it is due, and so on: whoever sends news for no reason gets one renewal for it.
    gaps = [round(later - sooner, 3) for sooner, later in zip([began, *asked], asked)]
    assert gaps[1::2] == [REFRESH] * 2 and max(gaps[0::2]) <= 2 * TOOK


def test_opening_the_watch_has_half_a_second_at_most(life):
    deadlines = []

    def changes(until):
        deadlines.append(until - life.clock.now)
        return {}

    life.lock.changes = changes
    life.lock.plan("refresh", Lost(""))
    life.run()
    assert deadlines == [0.5]
