# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of endpoint health: whatever a member, or a server posing as one, returns, the report has a dict for it."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest

from ctdb_etcd.config.parse import parse
from ctdb_etcd.client.retry import reason
from ctdb_etcd.errors import LockError
from ctdb_etcd.log import Log
from ctdb_etcd.report import endpoint_health
from ctdb_etcd.waiting import Patient
from tests.support.fake_network import A, Cluster, always, answer
from tests.support.fuzz import JSON, NUMBERS, examples, given, st

FIELDS = "header cluster_id member_id leader version errors isLearner etcdserver health reason error message".split()
PART = st.recursive(
    st.one_of(JSON, NUMBERS, st.just(10**400), st.just("true")),
    lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(st.sampled_from(FIELDS), part, max_size=5)),
    max_leaves=8,
)
HOSTILE = [{"header": {"cluster_id": 1e400}}, {"header": []}, {"errors": 7}, {"header": {"cluster_id": "9" * 4000}}]


def is_shown(monkeypatch, bodies):
    cluster = Cluster(monkeypatch)
    answers = [always((0.0, answer(status, body))) for status, body in bodies]
    cluster.a.serve = lambda path, body: (answers.pop(0) if answers else always((0.0, b"")))(path, body)
    found = {}
    try:
        cluster.client.health(A, cluster.clock.now + 2, found)
    except (OSError, LockError, *endpoint_health._NONSENSE) as error:
        assert reason(error) or isinstance(error, endpoint_health._NONSENSE)
    json.dumps(found)


@examples(200)
@given(st.lists(st.tuples(st.sampled_from([200, 200, 403, 500]), PART.map(json.dumps).map(str.encode)), max_size=4))
def test_any_health_of_a_member_can_be_reported(bodies):
    with pytest.MonkeyPatch.context() as monkeypatch:
        is_shown(monkeypatch, bodies)


@pytest.mark.parametrize("body", [*HOSTILE, "[" * 100000])
def test_invalid_numbers_and_lists_for_objects_can_be_reported(monkeypatch, body):
    is_shown(monkeypatch, [(200, body.encode() if isinstance(body, str) else json.dumps(body).encode())])


DATES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["Mon, 01 Jan 0001 00:00:00 -0000", "Mon, 01 Jan 9999 00:00:00 -2359"]),
    st.sampled_from(["", "1 Jan 2026 00:00:00 +9999"]),
)


@examples(200)
@given(DATES)
def test_any_date_of_a_member_gives_an_offset_or_none(date):
    offset = endpoint_health._offset(date, 1e9, 1e9 + 1)
    assert offset is None or isinstance(offset, float)


def test_import_of_python_etcd_does_not_shorten_the_endpoint_time(monkeypatch):
    imported, left = [], []

    def now():
        return time.monotonic() + 10 * len(imported)

    def health(endpoint, until, found):
        left.append(until - now())

    monkeypatch.setattr(endpoint_health, "time", SimpleNamespace(monotonic=now, time=time.time))
    monkeypatch.setattr(endpoint_health, "load", imported.append)
    monkeypatch.setattr(endpoint_health, "open_api", lambda *_: (SimpleNamespace(health=health), None))
    config = parse("x", b"api = 2")
    endpoint_health.endpoints(config, "/", Patient(), Log())
    assert imported == ["2"] and left[0] > 0
