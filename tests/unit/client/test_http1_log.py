# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of what the log has of a request and its answer, and what a time-out says."""

from __future__ import annotations

import pytest

from ctdb_etcd.client.http1 import HttpError, exchange
from tests.support.fakes import Clock, Log


class Connection:
    """A connection whose answer, or the error that it raises, takes these seconds."""

    endpoint = "etcd1:2379"

    def __init__(self, clock, seconds, outcome):
        self.clock, self.seconds, self.outcome = clock, seconds, outcome
        self.asked = None

    def ask(self, *request):
        self.asked = request
        self.clock.pass_(self.seconds)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


REQUEST = "POST", "/v3/x", b"{1}", {"Authorization": "t", "X": "y"}, 2000.0


def test_request_and_answer_are_logged_with_time_and_without_token(clock):
    log, connection = Log(), Connection(clock, 0.25, (200, b"{2}\xff"))
    assert exchange(connection, log, "name", *REQUEST) == (200, b"{2}\xff") and connection.asked == REQUEST
    assert log.lines == [
        "wire: > POST /v3/x {'Authorization': '***', 'X': 'y'} {1}",
        "debug: name: 200 from etcd1:2379 in 0.2500 s",
        "wire: < 200 {2}\\xff",
    ]


def test_bodies_of_a_login_are_not_logged(clock):
    log = Log()
    exchange(Connection(clock, 0.25, (200, b"{2}")), log, "name", *REQUEST, secret=True)
    assert [line[-3:] for line in log.lines if line.startswith("wire")] == ["***"] * 2


def test_request_without_a_body_is_logged(clock):
    log = Log()
    exchange(Connection(clock, 0.0, (200, b"")), log, "name", "GET", "/x", None, {}, 1.0)
    assert log.lines[0] == "wire: > GET /x {} "


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), HttpError("reset")])
def test_request_without_an_answer_is_logged_with_the_reason(clock, error):
    log = Log()
    with pytest.raises(type(error)) as raised:
        exchange(Connection(clock, 0.5, error), log, "name", *REQUEST)
    assert raised.value is error
    assert log.lines[1:] == ["debug: name: no answer from etcd1:2379 in 0.5000 s: reset"]


SAYS = [(3.0, "no answer in 3.0 s"), (1.0, "no answer in 1.0 s"), (0.75, "no answer in time")]


@pytest.mark.parametrize("seconds, says", SAYS)
def test_time_out_of_a_second_or_more_says_how_long_it_took(clock, seconds, says):
    with pytest.raises(TimeoutError) as raised:
        exchange(Connection(clock, seconds, TimeoutError()), Log(), "name", *REQUEST)
    assert str(raised.value) == says
