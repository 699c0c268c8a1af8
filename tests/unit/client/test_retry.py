# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of rounds over the endpoints: which failures end them, which endpoints are retried, and the error texts."""

from __future__ import annotations

import errno
import os

import pytest

from ctdb_etcd.client.retry import Retry, reason
from ctdb_etcd.errors import EndpointRefused, GrpcOnly, OtherCluster, Refused, TooLong, Unavailable
from tests.support.fakes import Clock, Log, Waiter


class Rounds:
    """Endpoints a, b and c, which fail with these errors."""

    def __init__(self, monkeypatch, *errors):
        self.clock = Clock(monkeypatch)
        self.errors = dict(zip("abc", errors))
        self.asked = []
        self.retry = Retry(Waiter(self.clock), Log())

    def round(self, failures):
        for endpoint, error in self.errors.items():
            if endpoint not in failures:
                self.asked.append(endpoint)
                failures[endpoint] = error

    def call(self):
        return self.retry.call(self.round, self.clock.now + 4)


def test_endpoint_for_grpc_only_is_queried_once_in_all_rounds(monkeypatch):
    rounds = Rounds(monkeypatch, GrpcOnly(), TimeoutError("no answer"), EndpointRefused("it is a stranger"))
    with pytest.raises(Unavailable, match="a: it speaks gRPC only: .*; b: no answer; c: it is a stranger"):
        rounds.call()
    assert rounds.asked.count("a") == 1 and rounds.asked.count("b") == rounds.asked.count("c") > 3


def test_endpoints_that_are_all_refused_end_the_rounds_at_once(monkeypatch):
    rounds = Rounds(monkeypatch, GrpcOnly(), EndpointRefused("it is a stranger"))
    with pytest.raises(Refused, match="listen-client-http-urls; b: it is a stranger"):
        rounds.call()
    assert rounds.asked == ["a", "b"]


@pytest.mark.parametrize(
    "failures, raised",
    [
        ({}, Unavailable),
        ({"a": OSError("x")}, Unavailable),
        ({"a": EndpointRefused("x"), "b": OSError("x")}, Unavailable),
        ({"a": EndpointRefused("x"), "b": OtherCluster("x")}, Refused),
        ({"a": OtherCluster("x"), "b": OtherCluster("x")}, OtherCluster),
        # Waiting does not make the answer shorter.
        ({"a": TooLong("x"), "b": OSError("x")}, TooLong),
    ],
)
def test_retries_end_early_only_if_each_endpoint_refuses_for_good(monkeypatch, failures, raised):
    clock = Clock(monkeypatch)
    began, rounds = clock.now, []

    def attempt(noted):
        rounds.append(clock.now)
        noted.update(failures)

    with pytest.raises(raised) as failure:
        Retry(Waiter(clock), Log()).call(attempt, began + 4)
    assert failure.type is raised
    assert (8 < len(rounds) < 20) if raised is Unavailable else len(rounds) == 1
    assert clock.now <= began + 4


@pytest.mark.parametrize(
    "error, words",
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "Too many open files"),
        (OSError("in our words"), "in our words"),
        (TimeoutError(), "no answer in time"),
        (TimeoutError("no connection in time"), "no connection in time"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_failure_is_described_in_words(error, words):
    assert reason(error) == words


def test_round_without_an_answer_is_repeated_at_once_on_a_new_file(monkeypatch):
    clock, changes, rounds = Clock(monkeypatch), [True, False], []

    def attempt(failures):
        rounds.append(clock.now)
        failures["a"] = OSError("x")
        return "yes" if len(rounds) == 3 else None

    retry = Retry(Waiter(clock), Log(), lambda: changes.pop(0))
    assert retry.call(attempt, clock.now + 4) == "yes"
    assert rounds[0] == rounds[1] < rounds[2] and not changes


@pytest.mark.parametrize("refusal", [Refused("the login"), None])
def test_refusal_is_raised_only_if_the_file_has_not_changed(monkeypatch, refusal):
    clock, changes, rounds = Clock(monkeypatch), [True, True, False], []

    def attempt(failures):
        rounds.append(clock.now)
        if refusal:
            raise refusal
        failures["a"] = EndpointRefused("its certificate")

    with pytest.raises(Refused):
        Retry(Waiter(clock), Log(), lambda: changes.pop(0)).call(attempt, clock.now + 4)
    assert len(rounds) == 3 and not changes


@pytest.mark.parametrize("error", [Refused("x"), OSError("x")])
def test_file_that_changes_all_the_time_does_not_delay_the_deadline(monkeypatch, error):
    clock = Clock(monkeypatch)
    began = clock.now

    def attempt(failures):
        clock.pass_(0.1)
        if isinstance(error, Refused):
            raise error
        failures["a"] = error

    with pytest.raises((Refused, Unavailable)):
        Retry(Waiter(clock), Log(), lambda: True).call(attempt, began + 4)
    assert clock.now < began + 4.2
