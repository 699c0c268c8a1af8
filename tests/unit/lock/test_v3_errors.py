# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the v3 lock on release, when a request fails or on a stop: the result, and what stays in etcd."""

from __future__ import annotations

import pytest

from ctdb_etcd.errors import (
    Contended,
    LeaseExists,
    LeaseNotFound,
    Lost,
    OtherCluster,
    PermissionDenied,
    Refused,
    Stopped,
    Unavailable,
)
from tests.support.fake_wire import Fault
from tests.support.rigs import DEAD, RigV3, value


@pytest.fixture
def rig(monkeypatch):
    return RigV3(monkeypatch)


def test_a_release_ends_our_lease_and_is_done_once(rig):
    rig.etcd.put("/elsewhere", "them", 5, 1000)
    rig.held()
    rig.release()
    assert rig.values() == ["them"] and list(rig.etcd.leases) == [5]
    rig.release()
    assert rig.wire.names == ["lease/revoke"]


def test_release_without_a_lease_sends_nothing(rig):
    rig.look()
    rig.release()
    assert rig.wire.names == ["kv/range"]


def test_contender_releases_only_its_own_lease(rig):
    rig.take_as("them")
    with pytest.raises(Contended):
        rig.take()
    rig.release()
    assert rig.values() == ["them"] and len(rig.etcd.leases) == 1


def test_a_release_that_failed_can_be_repeated(rig):
    rig.held()
    rig.wire.fault("lease/revoke", Fault(effect=False, error=Unavailable("")))
    with pytest.raises(Unavailable):
        rig.release()
    rig.release()
    assert not rig.etcd.leases and rig.wire.names == ["lease/revoke"] * 2


STEPS = ["lease/grant", "kv/txn", "kv/txn 2", "lease/revoke", "lease/keepalive", "kv/range"]


@pytest.mark.parametrize("effect", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize("step", STEPS)
def test_release_after_a_stop_at_any_step_leaves_nothing_of_ours(rig, step, effect):
    rig.etcd.put(f"{rig.directory}dead", value(DEAD), 0xDEAD, 1000)
    name, _, second = step.partition(" ")
    rig.wire.fault(name, *[None] * bool(second), Fault(effect=effect, error=Stopped("SIGTERM")))
    with pytest.raises(Stopped):
        rig.take()
        rig.refresh()
    rig.release()
    assert set(rig.etcd.keys.values()) <= {value(DEAD)} and set(rig.etcd.leases) <= {0xDEAD}
    # Eviction is one transaction: until it is done, the key of the dead process stays.
    assert rig.etcd.keys or step not in ("lease/grant", "kv/txn") and (effect or step != "kv/txn 2")


ERRORS = [
    Unavailable("x"),
    Refused("x"),
    PermissionDenied("x"),
    OtherCluster("x"),
    LeaseNotFound("x"),
    LeaseExists("x"),
    Stopped("x"),
]
TAKEN = "taken"
# The result of an error at a verb's request, where it is not that error itself.
MEANING = {
    ("look", "kv/range"): {},
    # A lease whose time left is unknown is contention.
    ("look", "lease/timetolive"): {Unavailable: Contended, LeaseNotFound: Contended, LeaseExists: Contended}
    | {Refused: Contended, PermissionDenied: Contended, OtherCluster: Contended},
    ("take", "lease/grant"): {LeaseExists: TAKEN},
    # The next try has a new lease.
    ("take", "kv/txn"): {LeaseNotFound: TAKEN},
    ("take", "kv/txn 2"): {LeaseNotFound: TAKEN},
    ("take", "lease/revoke"): {Unavailable: TAKEN, Refused: TAKEN, PermissionDenied: TAKEN, OtherCluster: TAKEN}
    | {LeaseNotFound: TAKEN},
    ("refresh", "lease/keepalive"): {LeaseNotFound: Lost},
    ("refresh", "kv/range"): {},
    ("release", "lease/revoke"): {LeaseNotFound: TAKEN},
}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("verb, step", MEANING, ids=lambda part: part)
def test_each_error_at_each_call_has_the_listed_result(monkeypatch, verb, step, error):
    rig = RigV3(monkeypatch, electing=True)
    if verb == "take":
        rig.etcd.put(f"{rig.directory}dead", value(DEAD), 0xDEAD, 1000)
    elif verb == "look":
        rig.etcd.put(f"{rig.directory}them", value(1, lock_ttl=9, refresh=2), 0xBEEF, 1000)
    else:
        rig.held()
    name, _, second = step.partition(" ")
    # LeaseExists means that an earlier try of ours has made the lease.
    rig.wire.fault(name, *[None] * bool(second), Fault(effect=isinstance(error, LeaseExists), error=error))
    meaning = MEANING[verb, step].get(type(error), type(error))
    if meaning == TAKEN:
        rig.do(verb, rig.deadline)
        assert rig.values() == ["us"]
    else:
        with pytest.raises(meaning) as raised:
            rig.do(verb, rig.deadline)
        assert raised.type is meaning
    if verb == "look":
        assert list(rig.etcd.leases) == [0xBEEF]


NONSENSE = [
    ("lease/grant", {"TTL": "9000000001"}),
    ("lease/grant", {"TTL": "x"}),
    ("kv/txn", {"responses": []}),
    ("kv/txn", {"succeeded": True}),
    ("kv/txn", {"succeeded": True, "responses": [{}]}),
    ("kv/txn", {"succeeded": True, "responses": [{}, {"response_range": {}}]}),
    ("kv/txn", {"responses": [{}, {"response_range": {"kvs": [{"value": "*"}]}}, {}]}),
    ("kv/txn", {"responses": [{"response_range": {}}, {"response_range": {"kvs": [{"value": "x"}]}}]}),
    ("kv/txn", {"responses": [{"response_range": {}}, {"response_range": {"kvs": "x"}}]}),
    ("kv/txn", {"responses": [{"response_range": {"kvs": [{"create_revision": []}]}}, {}]}),
    ("lease/keepalive", {"result": []}),
    ("lease/keepalive", {"result": {"TTL": "9000000001"}}),
    ("lease/keepalive", {"result": {"TTL": "8", "header": []}}),
    ("kv/range", {"kvs": [[]]}),
    ("kv/range", {"kvs": {}}),
    ("kv/range", {"kvs": [{"create_revision": "x"}]}),
]


@pytest.mark.parametrize("name, answer", NONSENSE)
def test_answer_that_makes_no_sense_is_refused(rig, name, answer):
    rig.wire.fault(name, Fault(answer=answer))
    with pytest.raises(Unavailable, match="makes no sense"):
        rig.take()
        rig.refresh()
