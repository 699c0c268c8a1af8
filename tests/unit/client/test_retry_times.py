# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of retries: how many there are, when they end, and how much is logged."""

from __future__ import annotations

import pytest

from ctdb_etcd.client.retry import Retry, share
from ctdb_etcd.errors import EndpointRefused, OtherCluster, Refused, Stopped, Unavailable
from tests.support.fakes import Clock, Log, Waiter


class Trial:
    """Calls with planned attempts: each one is an answer or the failures of the endpoints."""

    def __init__(self, monkeypatch):
        self.clock = Clock(monkeypatch)
        self.waiter, self.log = Waiter(self.clock), Log()
        self.retry = Retry(self.waiter, self.log)
        self.attempts = []

    def call(self, *rounds, seconds=60.0, **more):
        """Make a call. Each round is an answer or a dict of failures, and the last one is repeated."""
        left = list(rounds)

        def attempt(failures):
            self.attempts.append(self.clock.now)
            outcome = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(outcome, dict):
                failures.update(outcome)
                return None
            return outcome

        return self.retry.call(attempt, self.clock.now + seconds, **more)


@pytest.fixture
def trial(monkeypatch):
    return Trial(monkeypatch)


FAILED = {"a": OSError(111, "Connection refused")}


def test_any_value_counts_as_an_answer(trial):
    for answer in [], 0, "", False, "x":
        assert trial.call(answer) == answer
    assert len(trial.attempts) == 5 and not trial.log.lines


def test_pauses_double_up_to_0_3_s(trial):
    with pytest.raises(Unavailable):
        trial.call(FAILED, seconds=5)
    pauses = [later - earlier for earlier, later in zip(trial.attempts, trial.attempts[1:])]
    assert pauses == pytest.approx([0.1, 0.2] + 15 * [0.3])


@pytest.mark.parametrize("seconds, attempts", [(0.0, 1), (0.1, 1), (0.125, 2), (0.31, 3)])
def test_attempt_does_not_begin_at_the_deadline(trial, seconds, attempts):
    began = trial.clock.now
    with pytest.raises(Unavailable, match="etcd gave no answer in time: a: Connection refused"):
        trial.call(FAILED, seconds=seconds)
    assert len(trial.attempts) == attempts and trial.clock.now <= began + seconds


def test_call_refused_for_good_by_all_endpoints_is_not_retried(trial):
    with pytest.raises(Refused, match="a: x; b: y") as failure:
        trial.call({"a": EndpointRefused("x"), "b": OtherCluster("y")})
    assert len(trial.attempts) == 1 and failure.type is Refused and not trial.log.lines


@pytest.mark.parametrize("seconds, tries", [(0.0, 1), (0.125, 2)])
def test_refused_call_is_retried_on_a_changed_file_before_the_deadline(trial, seconds, tries):
    changed = [True]
    trial.retry = Retry(trial.waiter, trial.log, lambda: bool(changed and changed.pop()))
    with pytest.raises(Refused):
        trial.call({"a": EndpointRefused("x")}, seconds=seconds)
    assert len(trial.attempts) == tries


def test_call_that_one_endpoint_may_serve_later_is_retried(trial):
    assert trial.call({"a": EndpointRefused("x"), **FAILED, "b": Unavailable("y")}, "x") == "x"
    assert trial.call({"b": EndpointRefused("x"), "a": Unavailable("y")}, "x") == "x"


@pytest.mark.parametrize("when, attempts", [(None, 0), (0.05, 1), (0.15, 2)])
def test_stop_ends_a_call_before_the_next_attempt(trial, when, attempts):
    if when is None:
        trial.waiter.stop = "SIGTERM"
    else:
        trial.waiter.stop_at(trial.clock.now + when)
    with pytest.raises(Stopped):
        trial.call(FAILED)
    assert len(trial.attempts) == attempts


def test_exception_of_an_attempt_is_raised(trial):
    def attempt(failures):
        raise Refused("x")

    with pytest.raises(Refused):
        trial.retry.call(attempt, trial.clock.now + 60)


# The log


def errors(trial):
    return [line for line in trial.log.lines if line.startswith("error: ")]


def test_outage_is_logged_at_its_beginning_and_at_its_end(trial):
    trial.call(FAILED, FAILED, FAILED, "x")
    assert errors(trial) == [
        "error: no etcd endpoint answers, still trying: a: Connection refused",
        "error: etcd answers again after 0.6 s",
    ]
    assert [line[:5] for line in trial.log.lines] == ["error", "debug", "debug", "error"]
    trial.call("x")
    assert len(trial.log.lines) == 4


def test_outage_over_several_calls_is_logged_as_one(trial):
    for _ in range(3):
        with pytest.raises(Unavailable):
            trial.call(FAILED, seconds=1)
        # For longer than the time after which another outage is logged.
        trial.clock.pass_(70)
    trial.call("x")
    assert len(errors(trial)) == 2


def test_outages_that_come_and_go_are_logged_once_a_minute_and_counted(trial):
    began = trial.clock.now
    for number in range(6):
        trial.clock.until(began + number * 15)
        trial.call(FAILED, "x")
    logged = errors(trial)
    quiet = [line for line in trial.log.lines if line.startswith("debug: ")]
    assert len(quiet) == 8 and quiet[0] == "debug: no etcd endpoint answers, still trying: a: Connection refused"
    assert len(logged) == 4 and logged[2].endswith("(and 3 times since it was last logged)")
    trial.clock.until(began + 200)
    trial.call(FAILED, "x")
    assert errors(trial)[4].endswith("(and 1 times since it was last logged)")


def test_failures_are_logged_with_the_text_of_the_caller(trial):
    trial.call(FAILED, "x", news="nobody knows: ")
    assert errors(trial)[0] == "error: nobody knows: a: Connection refused"


@pytest.mark.parametrize("untried, most, seconds", [(1, 99, 4), (2, 99, 4), (4, 99, 2), (1, 3, 3), (8, 3, 1)])
def test_endpoint_may_use_its_share_of_the_time_but_never_all(trial, untried, most, seconds):
    assert share(trial.clock.now + 8, most, untried) == trial.clock.now + seconds
