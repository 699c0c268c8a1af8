# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Rounds over the endpoints: which failures end them, and which endpoints are not asked again."""

from __future__ import annotations

import pytest

from ctdb_etcd.client.retry import Retry
from ctdb_etcd.errors import EndpointRefused, GrpcOnly, Refused, Unavailable
from tests.support.fakes import Clock, Log, Waiter


class Rounds:
    """Endpoints a, b and c, which fail in these ways."""

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


def test_endpoint_for_grpc_only_is_asked_once_in_all_rounds(monkeypatch):
    rounds = Rounds(monkeypatch, GrpcOnly(), TimeoutError("no answer"), EndpointRefused("it is a stranger"))
    with pytest.raises(Unavailable, match="a: it speaks gRPC only: .*; b: no answer; c: it is a stranger"):
        rounds.call()
    assert rounds.asked.count("a") == 1 and rounds.asked.count("b") == rounds.asked.count("c") > 3


def test_endpoints_that_are_all_refused_end_the_rounds_at_once(monkeypatch):
    rounds = Rounds(monkeypatch, GrpcOnly(), EndpointRefused("it is a stranger"))
    with pytest.raises(Refused, match="listen-client-http-urls; b: it is a stranger"):
        rounds.call()
    assert rounds.asked == ["a", "b"]
