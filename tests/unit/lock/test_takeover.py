# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of contention: which leases are waited for and how long, and that only a proven dead process is evicted."""

from __future__ import annotations

import json

import pytest

from ctdb_etcd import __version__
from ctdb_etcd.errors import Contended, LockError, Stopped, Unavailable
from ctdb_etcd.lock.holder import Key
from ctdb_etcd.lock.takeover import Contender
from tests.support.fakes import Clock, Holder, Log, Waiter
from tests.support.rigs import DEAD, NonceFile, value

# A live holder renews every 2 s, at most a second late, so its lease always has at least 6 s left.
NINE = {"lock_ttl": 9, "refresh": 2}
LEAST = 6


class Front:
    """The rival that each look finds in front: its value, and the time left of its lease."""

    def __init__(self, clock, text, left):
        self.clock, self.text, self.looks = clock, text, []
        self.until = clock.now + left
        self.asked = 0
        self.deadlines = []

    def __call__(self, deadline):
        self.looks.append(self.clock.now)
        return Key("", self.text, 1, 1) if self.text is not None else None

    def left(self, key, deadline):
        assert key.value == self.text
        self.asked += 1
        self.deadlines.append(deadline)
        return self.until - self.clock.now

    def goes(self, seconds, text=None):
        """Put another value, or none, in front after this many seconds."""
        self.clock.at(self.clock.now + seconds, lambda: setattr(self, "text", text))


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def waiter(clock):
    return Waiter(clock)


def contender_of(waiter, electing=True, latest=float("inf")):
    """Return a contender run by the recovery daemon, or else by ctdbd; it waits for a lease until `latest`."""
    return Contender(Holder("us"), NonceFile(), electing, latest, waiter, Log())


@pytest.fixture
def contender(clock, waiter):
    return contender_of(waiter)


def test_contender_does_not_wait_without_a_holder_in_front(clock, contender):
    front = Front(clock, None, 0)
    contender.contend(front, front.left, clock.now + 4)
    assert len(front.looks) == 1


@pytest.mark.parametrize("electing", [True, False])
def test_dead_process_is_not_waited_for_and_its_lease_not_queried(clock, waiter, electing):
    front = Front(clock, value(DEAD, **NINE), 9)
    contender_of(waiter, electing).contend(front, front.left, clock.now + 4)
    assert len(front.looks) == 1 and not front.asked


def test_contender_that_does_not_elect_does_not_wait(clock, waiter):
    front = Front(clock, value(1, **NINE), 1)
    with pytest.raises(Contended):
        contender_of(waiter, electing=False).contend(front, front.left, clock.now + 4)
    assert len(front.looks) == 1 and not front.asked


@pytest.mark.parametrize("left, waits", [(5.75, True), (6.0, False), (6.25, False), (0.0, True), (-1.0, True)])
def test_lease_with_less_left_than_a_live_holders_is_waited_for(clock, contender, left, waits):
    front = Front(clock, value(1, **NINE), left)
    front.goes(max(left, 0.1))
    if waits:
        contender.contend(front, front.left, clock.now + 60)
        assert len(front.looks) > 1
    else:
        with pytest.raises(Contended) as contention:
            contender.contend(front, front.left, clock.now + 60)
        assert str(contention.value) == front.text and len(front.looks) == 1


@pytest.mark.parametrize("left, waits", [(3.0, True), (4.0, True), (4.25, False), (20.0, False)])
def test_a_lease_that_cannot_end_in_time_is_contention_at_once(clock, waiter, left, waits):
    front = Front(clock, value(1, lock_ttl=60, refresh=10), left)
    front.goes(left - 0.5)
    contender = contender_of(waiter, latest=clock.now + 4)
    if waits:
        contender.contend(front, front.left, clock.now + 60)
    else:
        with pytest.raises(Contended):
            contender.contend(front, front.left, clock.now + 60)
        assert len(front.looks) == 1


def test_contender_looks_five_times_a_second(clock, contender):
    front = Front(clock, value(1, **NINE), 3)
    front.goes(1)
    began = clock.now
    contender.contend(front, front.left, clock.now + 60)
    assert front.looks == pytest.approx([began + 0.2 * n for n in range(6)])


@pytest.mark.parametrize("left, latest, waited", [(2.0, 60, 4.0), (0.5, 2, 1.6), (-5.0, 60, 2.0), (-5.0, 0.9, 0.9)])
def test_lease_that_never_ends_is_waited_for_until_its_expected_end(clock, waiter, left, latest, waited):
    front = Front(clock, value(1, **NINE), left)
    # etcd reports the same time left at each look.
    front.left = lambda key, deadline: left
    began = clock.now
    with pytest.raises(Contended):
        contender_of(waiter, latest=began + latest).contend(front, front.left, began + 60)
    assert clock.now == pytest.approx(began + waited, abs=0.01)


def test_etcd_that_falls_silent_during_the_wait_is_contention(clock, contender):
    front = Front(clock, value(1, **NINE), 3)
    looks = [front(0)]

    def look(deadline):
        if looks:
            return looks.pop()
        raise Unavailable("no answer")

    began = clock.now
    with pytest.raises(Contended) as contention:
        contender.contend(look, front.left, clock.now + 60)
    assert str(contention.value) == front.text and clock.now < began + 0.25


@pytest.mark.parametrize("seconds", [1, 60])
def test_lease_is_queried_until_the_later_of_both_deadlines(clock, contender, seconds):
    front = Front(clock, value(1, **NINE), 3)
    front.goes(0.5)
    began = clock.now
    contender.contend(front, front.left, began + seconds)
    # The first query has the look's deadline. The later ones have at least until the lease's end and etcd's 2 s.
    assert front.deadlines == [began + seconds] + [began + max(seconds, 5)] * 2


def test_log_shows_once_whose_lease_is_waited_for(clock, waiter):
    front, log = Front(clock, value(1, **NINE), 3), Log()
    front.goes(1)
    Contender(Holder("us"), NonceFile(), True, float("inf"), waiter, log).contend(front, front.left, clock.now + 60)
    (line,) = log.lines
    assert line.startswith("info: waiting for the end of a lease that is not renewed: node n, pnn 1, pid 1, ")


@pytest.mark.parametrize("left, paused", [(60, 0.2), (0.125, 0.125)])
def test_pause_lasts_a_fifth_of_a_second_or_until_the_deadline(clock, contender, left, paused):
    began = clock.now
    contender.pause(began + left)
    assert clock.now - began == pytest.approx(paused)


def test_contender_has_the_value_that_it_would_write(contender):
    assert contender.holder.text() == "us"


def test_lease_renewed_while_it_is_waited_for_is_contended_at_once(clock, contender):
    front = Front(clock, value(1, **NINE), 3)
    clock.at(clock.now + 1, lambda: setattr(front, "until", clock.now + 9))
    began = clock.now
    with pytest.raises(Contended):
        contender.contend(front, front.left, began + 60)
    assert clock.now < began + 1.25


def test_next_holder_in_front_is_contention(clock, contender):
    front = Front(clock, value(1, **NINE), 3)
    front.goes(1, "them")
    with pytest.raises(Contended) as contention:
        contender.contend(front, front.left, clock.now + 60)
    assert str(contention.value) == "them"


def test_second_expiring_lease_does_not_extend_the_wait(clock, contender):
    front = Front(clock, value(1, **NINE), 2)
    front.left = lambda key, deadline: 2
    front.goes(3, value(2, **NINE))
    began = clock.now
    with pytest.raises(Contended):
        contender.contend(front, front.left, began + 60)
    assert clock.now < began + 4.25


def test_a_stop_ends_the_wait(clock, waiter, contender):
    waiter.stop_at(clock.now + 1)
    front = Front(clock, value(1, **NINE), 3)
    with pytest.raises(Stopped):
        contender.contend(front, front.left, clock.now + 60)


OTHERS = [
    "",
    "them",
    "[]",
    "null",
    "1",
    '"x"',
    "{}",
    "[" * 100000,
    json.dumps({"version": "another", "pid": DEAD, **NINE}),
    json.dumps({"pid": DEAD, **NINE}),
    json.dumps([{"version": __version__, "pid": DEAD, **NINE}]),
]


@pytest.mark.parametrize("text", OTHERS, ids=lambda text: text[:20])
def test_key_of_another_version_is_neither_dead_nor_waited_for(clock, contender, text):
    front = Front(clock, text, 1)
    assert contender.is_dead(text) is False
    with pytest.raises(Contended):
        contender.contend(front, front.left, clock.now + 60)
    assert len(front.looks) == 1 and not front.asked


@pytest.mark.parametrize("fields", [{}, {"lock_ttl": 9}, {"refresh": 2}, {"lock_ttl": "9", "refresh": 2}])
def test_holder_that_does_not_state_its_times_is_not_waited_for(clock, contender, fields):
    front = Front(clock, value(1, **fields), 1)
    with pytest.raises(Contended):
        contender.contend(front, front.left, clock.now + 60)


@pytest.mark.parametrize("error", [Unavailable("x"), LockError("x")])
def test_lease_with_unknown_remaining_time_is_not_waited_for(clock, contender, error):
    def left(key, deadline):
        raise error

    front = Front(clock, value(1, **NINE), 1)
    front.left = left
    with pytest.raises(Contended):
        contender.contend(front, front.left, clock.now + 60)


@pytest.mark.parametrize("pid, dead", [(DEAD, True), (1, False)])
def test_contender_uses_the_nonce_file_to_find_dead_processes(contender, pid, dead):
    assert contender.is_dead(value(pid)) is dead
