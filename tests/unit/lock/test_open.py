# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of JointLock: two locks are held as one, under the given terms."""

from __future__ import annotations

import pytest

from ctdb_etcd.errors import Contended, Lost, OtherCluster, Refused, Stopped, Unavailable
from ctdb_etcd.fence import Grant, now
from ctdb_etcd.lock.open import JointLock
from tests.support.fakes import Clock, Lock, sent

TOOK = Lock.TOOK


class Pair:
    """Locks a and b, held as one. The pair is also their Terms (a is the first lock, b a further one) and contends."""

    def __init__(self, monkeypatch):
        self.clock = Clock(monkeypatch)
        self.events = []
        self.a = self.first = Lock(self.clock, self.events, 8, "a")
        self.b = Lock(self.clock, self.events, 8, "b")
        self.more = [self.b]
        self.asked = []
        self.confirms = self.rechecks = lambda: None
        self.latest = self.clock.now + 61
        self.both = JointLock(self)

    def further(self, deadline):
        self.events.append("more")
        self.asked.append(deadline)
        return self.more

    def confirm(self, deadline):
        self.events.append("confirm")
        self.asked.append(deadline)
        self.confirms()

    def recheck(self, deadline):
        self.events.append("recheck")
        self.asked.append(deadline)
        self.rechecks()

    def do(self, verb, deadline):
        who = [self] if verb in ("look", "take") else []
        return getattr(self.both, verb)(*who, deadline)

    def look(self):
        """Look while both locks are free, and forget the events of that look."""
        self.do("look", self.clock.now + 60)
        self.events.clear()


@pytest.fixture
def pair(monkeypatch):
    return Pair(monkeypatch)


@pytest.fixture
def seen(pair):
    pair.look()
    return pair


def granted(age, ttl):
    return Grant(now() - age, ttl)


def test_further_locks_are_looked_at_only_if_the_first_is_free(pair):
    deadline = pair.clock.now + 60
    pair.do("look", deadline)
    assert pair.events == ["a look", "more", "b look"] and pair.a.deadlines["look"] == [deadline]
    # The first look may have waited for the end of a lease until the latest moment.
    assert pair.asked == pair.b.deadlines["look"] == [pair.latest]


def test_held_first_lock_is_contention_without_a_look_at_the_next(pair):
    pair.a.plan("look", Contended("them"))
    with pytest.raises(Contended):
        pair.look()
    assert pair.events == ["a look"]


def test_held_further_lock_is_contention(pair):
    pair.b.plan("look", Contended("them"))
    with pytest.raises(Contended):
        pair.look()


def test_locks_are_taken_in_order_and_refreshed_in_order(seen):
    deadline = seen.clock.now + 60
    seen.do("take", deadline)
    seen.both.refresh(deadline)
    assert seen.events == ["a take", "b take", "confirm", "recheck", "a refresh", "b refresh", "recheck"]
    assert seen.asked[-2:] == [deadline] * 2
    assert all(lock.deadlines[verb] == [deadline] for lock in (seen.a, seen.b) for verb in ("take", "refresh"))


AGES = [((1, 8), (0, 8)), ((0, 8), (1, 8)), ((0, 6), (0, 8)), ((0, 8), (0, 6)), ((2, 9), (0, 8)), ((0, 8), (2, 9))]


@pytest.mark.parametrize("first, second", AGES)
@pytest.mark.parametrize("verb", ["take", "refresh"])
def test_grant_that_ends_first_counts_if_two_locks_are_held(seen, verb, first, second):
    grants = []

    def grant(age, ttl):
        def give():
            grants.append(granted(age, ttl))
            return grants[-1]

        return give

    seen.a.plan(verb, grant(*first))
    seen.b.plan(verb, grant(*second))
    result = seen.do(verb, seen.clock.now + 60)
    assert result in grants and result.usable() == min(map(Grant.usable, grants)) < max(map(Grant.usable, grants))


@pytest.mark.parametrize("verb", ["take", "refresh"])
def test_a_grant_ages_while_the_next_lock_is_waited_for(seen, verb):
    # Each lock takes its time, the second one longer. The first grant still ends first.
    seen.a.plan(verb, lambda: seen.clock.pass_(1))
    seen.b.plan(verb, lambda: seen.clock.pass_(1.5))
    began = seen.clock.now
    assert sent(seen.do(verb, seen.clock.now + 60)) == began


@pytest.mark.parametrize("slow, renewed", [(3.5, False), (4.0, True), (6.0, True)])
def test_first_grants_half_over_once_the_last_is_taken_are_renewed(seen, slow, renewed):
    began = seen.clock.now
    seen.b.plan("take", lambda: seen.clock.pass_(slow - 2 * TOOK))
    result = seen.do("take", seen.clock.now + 60)
    assert seen.events == ["a take", "b take", "confirm", "recheck"] + ["a refresh", "b refresh", "recheck"] * renewed
    assert sent(result) == began + renewed * slow


@pytest.mark.parametrize("error", [Lost, Unavailable, Refused, Stopped, Contended])
@pytest.mark.parametrize("verb", ["take", "refresh"])
@pytest.mark.parametrize("which", ["a", "b"])
def test_error_at_one_lock_is_raised_without_asking_the_next(seen, which, verb, error):
    getattr(seen, which).plan(verb, error("x"))
    with pytest.raises(error):
        seen.do(verb, seen.clock.now + 60)
    assert seen.events[-1] == f"{which} {verb}"


@pytest.mark.parametrize("which", ["a", "b"])
def test_another_cluster_at_a_refresh_is_a_loss(seen, which):
    getattr(seen, which).plan("refresh", OtherCluster("x"))
    with pytest.raises(Lost, match="this is not the etcd that granted it: x"):
        seen.both.refresh(seen.clock.now + 60)


def test_release_is_in_reverse_and_leaves_time_after_a_hanging_one(seen):
    began = seen.clock.now
    seen.b.plan("release", lambda: seen.clock.until(seen.b.deadlines["release"][0]))
    seen.both.release(began + 2)
    assert seen.events == ["b release", "a release"]
    assert seen.b.deadlines["release"] == [began + 1] and seen.a.deadlines["release"] == [began + 2]


@pytest.mark.parametrize("error", [Unavailable, Refused])
@pytest.mark.parametrize("which", ["a", "b"])
def test_failed_release_of_one_lock_does_not_keep_the_other(seen, which, error):
    getattr(seen, which).plan("release", error("x"))
    with pytest.raises(error):
        seen.both.release(seen.clock.now + 2)
    assert seen.events == ["b release", "a release"]


def test_first_lock_is_enough_without_a_further_one(pair):
    pair.more = []
    pair.look()
    pair.do("take", pair.clock.now + 60)
    pair.both.release(pair.clock.now + 60)
    assert pair.events == ["a take", "confirm", "recheck", "a release"] and str(pair.both) == "a"


def test_lock_is_renewed_after_a_slow_confirmation(seen):
    began = seen.clock.now
    seen.confirms = lambda: seen.clock.pass_(4)
    result = seen.do("take", seen.clock.now + 60)
    assert seen.events == ["a take", "b take", "confirm", "recheck", "a refresh", "b refresh", "recheck"]
    assert sent(result) == began + 2 * TOOK + 4


@pytest.mark.parametrize("verb, moment", [("take", "confirms"), ("take", "rechecks"), ("refresh", "rechecks")])
@pytest.mark.parametrize("error", [Lost, Unavailable, Refused, Stopped])
def test_failed_confirmation_or_recheck_ends_the_lock(seen, verb, moment, error):
    def end():
        raise error("x")

    setattr(seen, moment, end)
    with pytest.raises(error):
        seen.do(verb, seen.clock.now + 60)


def test_changes_of_either_lock_are_those_of_both(seen):
    seen.a.news, seen.b.news = {7: 1}, {8: 4}
    until = seen.clock.now + 0.5
    assert seen.both.changes(until) == {7: 1, 8: 4}
    assert seen.a.deadlines["changes"] == seen.b.deadlines["changes"] == [until]


def test_endpoints_are_named_once_each(seen):
    assert seen.both.endpoint == "a:2379 and b:2379"
    seen.b.endpoint = "a:2379"
    assert seen.both.endpoint == "a:2379"
