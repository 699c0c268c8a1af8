# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of v2_served.py: what each endpoint's answer means, and the result if some endpoints do not answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ctdb_etcd.client.http1 import HttpError
from ctdb_etcd.errors import GrpcOnly, LockError, Unavailable
from ctdb_etcd.lock.v2_served import serves_v2, serves_v2_now, v2_served
from tests.support.fakes import Clock, Log, Waiter

YES, NO, UNKNOWN = (200, b'{"node":{}}'), (404, b"404 page not found"), (500, b"")
CONFIG = SimpleNamespace(version_prefix="/v2")
REFUSES, SILENT = ConnectionRefusedError(111, "Connection refused"), TimeoutError("timed out")
GRPC, STRANGER = GrpcOnly(), HttpError("what answers does not speak HTTP")

TABLE = [
    ([YES], True),
    ([NO], False),
    ([(404, b'{"errorCode":100}')], True),
    ([NO, YES], True),
    ([SILENT, YES], True),
    ([NO, NO, NO], False),
    ([NO, REFUSES], False),
    ([NO, REFUSES, REFUSES, REFUSES], False),
    # v2 is not served if an endpoint answers so and the silent endpoints are a minority.
    ([NO, SILENT], None),
    ([NO, NO, SILENT], False),
    ([NO, NO, SILENT, SILENT], None),
    ([NO, NO, NO, SILENT, SILENT], False),
    ([NO, UNKNOWN], None),
    ([NO, STRANGER], None),
    ([NO, NO, STRANGER], False),
    ([NO, NO, UNKNOWN], False),
    ([NO, REFUSES, SILENT], False),
    ([REFUSES], None),
    # An endpoint that speaks only gRPC does not serve v2 either.
    ([GRPC, NO], False),
    ([GRPC, YES], True),
    ([GRPC, NO, SILENT], False),
    ([GRPC, SILENT], None),
    ([REFUSES, REFUSES, SILENT], None),
    ([SILENT], None),
    ([UNKNOWN], None),
]


class Answers:
    """Endpoints that give these answers to the query for v2."""

    def __init__(self, clock, answers):
        self._clock = clock
        self.config, self.waiter, self.log = CONFIG, Waiter(clock), Log()
        self.answers = dict(zip("abcdef", answers))
        self.untils, self.asked = [], []

    def names(self):
        return list(self.answers)

    def impatient(self):
        return SimpleNamespace(get=self._get)

    def _get(self, endpoint, path, until):
        assert path == "/v2/keys/x/"
        self.asked.append(endpoint)
        self.untils.append(until - self._clock.now)
        answer = self.answers[endpoint]
        if isinstance(answer, TimeoutError):
            self._clock.until(until)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize("answers, served", TABLE)
def test_v2_is_served_or_not_as_the_table_of_answers_says(monkeypatch, answers, served):
    clock = Clock(monkeypatch)
    endpoints, deadline = Answers(clock, answers), clock.now + 6
    ask = lambda: v2_served("/x/", endpoints, deadline)  # noqa: E731
    if served is None:
        with pytest.raises(Unavailable, match="too few endpoints answer") as failure:
            ask()
        assert clock.now <= deadline and len(endpoints.untils) > len(answers)
        for name, answer in endpoints.answers.items():
            # An endpoint that speaks only gRPC is not asked again.
            assert (endpoints.asked.count(name) == 1) == (answer is GRPC)
            assert (f"{name}: " in str(failure.value)) == (answer is not NO)
    else:
        assert ask() is served
    # A dead endpoint must not delay a takeover or use up the time left.
    assert max(endpoints.untils) <= 1 and endpoints.untils[0] == 1


def answer(status, body):
    impatient = SimpleNamespace(get=lambda endpoint, path, until: (status, body))
    return serves_v2("/x/", SimpleNamespace(config=CONFIG, impatient=lambda: impatient), "a", 0)


@pytest.mark.parametrize("status", [400, 401, 403, 500, 503, 200])
def test_answer_of_neither_api_is_an_error(status):
    with pytest.raises(LockError):
        answer(status, b"<html>")


GATEWAY = b'{"message": "no route matches", "code": 5}'


@pytest.mark.parametrize("body", [b"", b"404 page not found", b"[]", b'["node"]', b"3", b"{}", GATEWAY, b"[" * 100000])
def test_http_404_of_another_kind_than_v2s_means_v2_is_not_served(body):
    assert answer(404, body) is False


@pytest.mark.parametrize("status", [200, 403, 429, 500, 502, 503])
def test_error_of_a_gateway_in_json_says_nothing_of_v2(status):
    with pytest.raises(LockError, match=f"HTTP status {status}"):
        answer(status, GATEWAY)


@pytest.mark.parametrize("status", [200, 404, 500])
def test_node_or_error_code_means_v2_is_served(status):
    assert answer(status, b'{"errorCode": 300, "message": "x"}') is answer(status, b' {"node": {}}') is True


def test_v2_that_wants_a_login_is_served():
    assert answer(401, b'{"message": "Insufficient credentials"}') is True


def test_the_log_names_endpoints_that_gave_no_answer(monkeypatch):
    clock = Clock(monkeypatch)
    endpoints = Answers(clock, [NO, NO, STRANGER])
    assert v2_served("/x/", endpoints, clock.now + 6) is False
    assert endpoints.log.lines == ["info: c is not known to serve the v2 API: what answers does not speak HTTP"]


@pytest.mark.parametrize("said, served", [(YES, True), (NO, False), (SILENT, None), (STRANGER, None), (UNKNOWN, None)])
def test_one_endpoint_is_queried_for_a_second_and_may_not_know(monkeypatch, said, served):
    clock = Clock(monkeypatch)
    endpoints = Answers(clock, [said])
    assert serves_v2_now("/x/", endpoints, "a", clock.now + 6) is served
    assert endpoints.untils == [1]
    lines = [line.partition(": ")[2].partition(" serve")[0] for line in endpoints.log.lines]
    assert lines == ["a is not known to"] * (served is None)


@pytest.mark.parametrize("seconds, most", [(1.5, 0.75), (2.0, 1.0), (60.0, 1.0)])
def test_one_endpoint_may_use_half_of_the_time_up_to_a_second(monkeypatch, seconds, most):
    clock = Clock(monkeypatch)
    endpoints = Answers(clock, [NO])
    assert serves_v2_now("/x/", endpoints, "a", clock.now + seconds) is False
    assert endpoints.untils == [most]
