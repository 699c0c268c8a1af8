# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of how a lock's life starts and ends: the order of the steps, and what CTDB reads."""

from __future__ import annotations

import pytest

from ctdb_etcd.errors import Contended, Lost, Refused, Stopped, Unavailable
from ctdb_etcd.fence import Fence
from tests.support.life import ACQUIRE, TOOK, TTL, end_of
from tests.support.life import life as life_fixture

life = life_fixture


LOST = ["end stdout", "release", "no nonce file"]

# Before the status character


def test_fence_is_armed_for_the_grant_before_the_character_is_written(life):
    grant = life.granted(7, age=1.5)
    life.lock.plan("take", grant)
    life.lock.plan("refresh", Lost(""))
    life.run()
    assert life.events == ["look", "take", "say 0", "gc", "nonce file", "refresh", *LOST]
    assert life.alarm_when_written == end_of(grant)
    assert len(life.clock.armed) == 1


@pytest.mark.parametrize("left, character", [(2.0, "0"), (1.0, "2"), (0.0, "2"), (-5.0, "2")])
def test_grant_with_only_the_margin_left_gives_no_lock(life, left, character):
    life.lock.plan("take", lambda: life.granted(TTL, TTL - left))
    life.lock.plan("refresh", Lost(""))
    life.run()
    assert life.written == character
    assert life.events[2:4] == (["say 0", "gc"] if character == "0" else ["say 2", "release"])
    assert bool(life.clock.armed) == (character == "0")


def test_take_ends_within_half_a_second_of_the_acquire_timeout(life):
    began = life.clock.now
    life.lock.plan("refresh", Lost(""))
    life.run()
    assert life.lock.deadlines["look"] == [began + ACQUIRE]
    assert life.lock.deadlines["take"] == [pytest.approx(began + ACQUIRE + 0.3)]


def test_signal_just_before_the_fence_gives_no_lock(life):
    life.clock.at(life.clock.now + 2 * TOOK, lambda: setattr(life.waiter, "stop", "SIGTERM"))
    life.run()
    assert life.events == ["look", "take", "end stdout", "release", "no nonce file"] and life.written == ""


@pytest.mark.parametrize("stopped", [0.06, 3, 100])
def test_pause_while_the_timer_is_set_moves_neither_timer_nor_end(life, stopped):
    life.clock.when_set(lambda: life.clock.now_is(life.clock.now + stopped))
    grant = life.granted(9)
    life.lock.plan("take", grant)
    life.lock.plan("refresh", Lost(""))
    life.run()
    if stopped < 8:
        assert life.written == "0" and life.alarm_when_written == pytest.approx(end_of(grant))
    else:
        assert life.written == "2" and "release" in life.events


def test_pause_while_a_renewal_sets_the_timer_does_not_move_it(life):
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
    assert life.events[-3:] == ["fail", "release", "no nonce file"]


# Status character and release


OUTCOMES = [
    (Contended("them"), "1"),
    (Unavailable("x"), "2"),
    (Refused("x"), "3"),
    (Lost("x"), "2"),
]


@pytest.mark.parametrize("outcome, character", OUTCOMES, ids=lambda part: type(part).__name__)
@pytest.mark.parametrize("verb", ["look", "take"])
def test_character_is_written_before_the_release_without_the_lock(life, verb, outcome, character):
    life.lock.plan(verb, outcome)
    life.run()
    said = ["look", "take"][: 1 + (verb == "take")] + [f"say {character}", "release"]
    assert life.events[: len(said)] == said and life.events.count("release") == 1
    assert not life.clock.armed and life.waiter.releasing


@pytest.mark.parametrize("verb", ["look", "take", "refresh"])
def test_ctdb_sees_a_requested_end_before_the_lock_is_released(life, verb):
    life.lock.plan(verb, Stopped("SIGTERM"))
    life.run()
    assert life.events[-3:] == ["end stdout", "release", "no nonce file"]
    assert life.written == ("0" if verb == "refresh" else "") and life.waiter.releasing


def test_stop_during_a_rest_releases_the_lock(life):
    life.waiter.stop_at(life.clock.now + 1)
    life.run()
    assert life.events == ["look", "take", "say 0", "gc", "nonce file", "end stdout", "release", "no nonce file"]


def test_release_has_a_deadline(life):
    life.lock.plan("take", Contended("them"))
    life.run()
    assert life.lock.deadlines["release"] == [life.clock.now - TOOK + 1.2]


@pytest.mark.parametrize("failure", [Unavailable("x"), Refused("x")])
def test_failed_release_after_contention_does_not_change_the_status(life, failure):
    life.lock.plan("take", Contended("them"))
    life.lock.plan("release", failure)
    life.run()
    assert life.written == "1" and any("is not released and ends with its lease: x" in line for line in life.log.lines)


@pytest.mark.parametrize("end", [Lost("x"), Stopped("SIGTERM")])
def test_lock_that_is_not_released_can_still_be_taken_by_the_nonce(life, end):
    life.lock.plan("refresh", end)
    life.lock.plan("release", Unavailable("x"))
    life.run()
    assert life.events[-2:] == ["end stdout", "release"]


def test_each_wait_of_a_holder_ends_at_its_fence(life):
    life.lock.plan("refresh", lambda: fences.append(life.waiter.fence) or Lost(""))
    fences = []
    life.run()
    assert isinstance(fences[0], Fence) and fences[0].left() < TTL


# The log


def test_log_shows_the_lock_its_endpoint_and_the_time_it_took(life):
    life.lock.plan("take", lambda: life.granted(9))
    life.lock.plan("refresh", Stopped("SIGTERM"))
    life.run()
    held, released = life.log.lines
    assert held.startswith("info: holding /the/lock/ at etcd1:2379 for leases of 9 s, taken in 0.500 s, pid ")
    assert released.startswith("info: released /the/lock/ at etcd1:2379 after ") and released.endswith(" s: SIGTERM")


@pytest.mark.parametrize(
    "outcome, line",
    [
        (Contended(""), "info: contention: /the/lock/ is held by somebody else; asked etcd1:2379, 0.750 s"),
        (Unavailable("x"), "error: x"),
        (Refused("x"), "error: x"),
        (Lost("x"), "error: lost /the/lock/ at etcd1:2379 after 0 s: x"),
        (Stopped("SIGTERM"), "info: did not take /the/lock/ after 1 s: SIGTERM"),
    ],
    ids=lambda part: type(part).__name__,
)
def test_log_shows_why_the_lock_is_not_held(life, outcome, line):
    life.lock.plan("take", outcome)
    life.run()
    assert life.log.lines == [line]
