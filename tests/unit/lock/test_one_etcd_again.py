# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of an endpoint that does not know our key: ours and then it are asked again, in the time that is left."""

from __future__ import annotations

import threading
import time

import pytest

from ctdb_etcd.client.http1 import HttpError
from ctdb_etcd.errors import Lost, Refused, Unavailable
from ctdb_etcd.lock import one_etcd
from tests.support.fake_endpoints import OURS, THEIRS, Etcd, refusal


def test_key_gone_at_our_endpoint_too_is_the_loss_of_the_lock():
    etcd = Etcd((OURS, False))
    etcd.answers["a"] = (OURS, False)
    with pytest.raises(Lost):
        etcd.confirm()


@pytest.mark.parametrize("failure, said", [(OSError(111, "refused"), "refused"), (HttpError("no HTTP"), "no HTTP")])
def test_key_unknown_elsewhere_without_an_answer_here_gives_no_lock(failure, said):
    etcd = Etcd((OURS, False))
    etcd.answers["a"] = failure
    with pytest.raises(Unavailable, match=f"a no longer answers: {said}"):
        etcd.confirm()


@pytest.mark.parametrize(
    "seconds, answer_time", [(10.0, 0.5), (0.25, 0.25), (0.125, 0.125), (0.0625, 0.1), (0.0, 0.1), (-3.0, 0.1)]
)
def test_others_have_until_the_deadline_and_a_tenth_to_half_second(monkeypatch, seconds, answer_time):
    monkeypatch.setattr(time, "monotonic", lambda: 1024.0)
    untils = []
    etcd = Etcd((OURS, False))
    etcd.known_at = lambda endpoint, until: untils.append(until) or (OURS, endpoint == "a")
    with pytest.raises(Refused):
        etcd.confirm(seconds)
    # b, then a and b again.
    assert untils == [1024.0 + answer_time] * 3


@pytest.mark.parametrize("second", [OSError(110, "timed out"), Unavailable("x"), (OURS, False)])
def test_only_a_better_second_answer_lets_the_lock_be_held(second):
    answers = [(OURS, False), second]
    etcd = Etcd(lambda until: answers.pop(0))
    assert "separate etcds with the same settings" in refusal(etcd)


def test_second_answer_of_another_cluster_is_refused():
    answers = [(OURS, False), (THEIRS, True)]
    assert "of different etcd clusters" in refusal(Etcd(lambda until: answers.pop(0)))


def test_silent_endpoint_leaves_time_to_ask_the_others_again(monkeypatch):
    monkeypatch.setattr(one_etcd, "_ANSWER_TIME", 0.2)
    silent = threading.Event()
    untils = []
    etcd = Etcd((OURS, False), lambda until: silent.wait(5))
    etcd.answers["a"] = lambda until: untils.append(until - time.monotonic()) or (OURS, True)
    assert "separate etcds" in refusal(etcd) and untils[0] > 0.05
    silent.set()


def test_endpoint_that_answers_from_the_past_is_asked_again():
    answers = [(OURS, False), (OURS, True)]
    etcd = Etcd(lambda until: answers.pop(0))
    etcd.confirm()
    assert etcd.asked == ["b", "a", "b"]
