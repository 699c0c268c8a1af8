# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the v2 lock when any request fails or is interrupted by a stop: the result, and what stays in etcd."""

from __future__ import annotations

import json

import pytest

from ctdb_etcd.errors import Contended, Lost, OtherCluster, Refused, Stopped, Unavailable
from tests.support.fake_wire import Fault
from tests.support.rigs import DEAD, RigV2, value

pytest.importorskip("etcd", reason="python3-etcd is not installed")

CORPSE = value(DEAD)


@pytest.fixture
def rig(monkeypatch):
    """Return a rig whose directory has the key of a dead process of this machine."""
    rig = RigV2(monkeypatch)
    rig.etcd.put(rig.key(1), CORPSE)
    return rig


@pytest.mark.parametrize("effect", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize("step", ["POST", "GET", "DELETE", "PUT", "GET 2"])
def test_release_after_a_stop_at_any_step_leaves_nothing_of_ours(rig, step, effect):
    name, _, second = step.partition(" ")
    rig.wire.fault(name, *[None] * bool(second), Fault(effect=effect, error=Stopped("SIGTERM")))
    with pytest.raises(Stopped):
        rig.take()
        rig.refresh()
    rig.release()
    assert set(rig.values()) <= {CORPSE}


ERRORS = [Unavailable("x"), Refused("x"), OtherCluster("x"), Stopped("x")]
NOT_FOUND = (404, b'{"errorCode": 100, "message": "Key not found"}')
CHANGED = (412, b'{"errorCode": 101, "message": "Compare failed"}')
FINE = "fine"
# The result of an error or answer at a verb's request, where it is not that error itself.
MEANING = {
    ("look", "GET"): {NOT_FOUND: FINE, CHANGED: Unavailable},
    # The following read shows whether the key was made.
    ("take", "POST"): {Unavailable: FINE, NOT_FOUND: FINE, CHANGED: FINE},
    ("take", "GET"): {},
    ("take", "DELETE"): {NOT_FOUND: FINE, CHANGED: Contended},
    ("refresh", "PUT"): {NOT_FOUND: Lost, CHANGED: FINE},
    ("refresh", "GET"): {NOT_FOUND: Lost},
    ("release", "GET"): {NOT_FOUND: FINE},
    ("release", "DELETE"): {NOT_FOUND: FINE, CHANGED: FINE},
}
CASES = [
    (verb, step, error, meanings.get(type(error), type(error)))
    for (verb, step), meanings in MEANING.items()
    for error in ERRORS
] + [
    (verb, step, answer, meanings[answer])
    for (verb, step), meanings in MEANING.items()
    for answer in (NOT_FOUND, CHANGED)
    if answer in meanings
]


@pytest.mark.parametrize("verb, step, error, meaning", CASES)
def test_each_error_at_each_call_has_the_listed_result(rig, verb, step, error, meaning):
    if verb in ("refresh", "release"):
        rig.held()
    kind = "answer" if isinstance(error, tuple) else "error"
    rig.wire.fault(step, Fault(effect=False, **{kind: error}))
    before = rig.values()
    if meaning == FINE:
        rig.do(verb, rig.deadline)
    else:
        with pytest.raises(meaning) as raised:
            rig.do(verb, rig.deadline)
        assert raised.type is meaning
    if verb in ("look", "refresh"):
        assert rig.values() == before


def test_take_that_is_repeated_logs_the_reason(rig):
    rig.wire.fault("POST", Fault(effect=False, error=Unavailable("x")))
    rig.take()
    assert rig.log.lines[0] == "info: not taken yet: x"
    assert rig.log.lines[1].startswith("info: evicted from /_locks/_ctdb/X/ (v2), its process is gone: ")


def keys(**fields):
    node = {"key": "/_locks/_ctdb/X/1", "value": "v", "ttl": 5, "createdIndex": 2, "modifiedIndex": 3, **fields}
    directory = {"key": "/_locks/_ctdb/X", "dir": True, "nodes": [node]}
    return 200, json.dumps({"action": "get", "node": directory}).encode()


ODD = [("key", 7), ("value", 7), ("value", {}), ("createdIndex", "x"), ("modifiedIndex", None)]
ODD += [("modifiedIndex", 1 << 63), ("ttl", "5"), ("ttl", 5.5), ("ttl", True)]


@pytest.mark.parametrize("field, found", ODD)
def test_a_key_with_an_impossible_field_makes_no_sense(rig, field, found):
    rig.wire.fault("GET", Fault(answer=keys(**{field: found})))
    with pytest.raises(Unavailable, match="makes no sense: this is not a key"):
        rig.lock.keys(rig.deadline, 9)


def test_key_has_the_values_that_etcd_returns(rig):
    rig.wire.fault("GET", Fault(answer=keys()), Fault(answer=keys(ttl=None, value=None)))
    (key,), _ = rig.lock.keys(rig.deadline, 9)
    assert (key.name, key.value, key.revision, key.modified, key.left) == ("/_locks/_ctdb/X/1", "v", 2, 3, 5)
    (key,), _ = rig.lock.keys(rig.deadline, 9)
    assert (key.value, key.left) == ("", None)


NO_TTL, NO_KEY = "a key without its TTL", "this is not a key"
TTLS = [(8, ""), (1, ""), (None, NO_TTL), ("9", NO_KEY)]


@pytest.mark.parametrize("ttl, fault", TTLS)
def test_ttl_of_a_key_is_a_number_of_seconds(rig, ttl, fault):
    rig.held()
    (name,) = rig.etcd.keys
    node = {"key": name, "value": "us", "ttl": ttl, "createdIndex": 9, "modifiedIndex": 9}
    rig.wire.fault("PUT", Fault(answer=(200, json.dumps({"action": "compareAndSwap", "node": node}).encode())))
    if fault:
        with pytest.raises(Unavailable, match=f"makes no sense: {fault}$"):
            rig.refresh()
    else:
        assert rig.refresh().ttl == ttl


@pytest.mark.parametrize("ttl", [0, -1])
def test_key_that_has_run_out_when_it_is_renewed_is_lost(rig, ttl):
    rig.held()
    (name,) = rig.etcd.keys
    node = {"key": name, "value": "us", "ttl": ttl, "createdIndex": 9, "modifiedIndex": 9}
    rig.wire.fault("PUT", Fault(answer=(200, json.dumps({"action": "compareAndSwap", "node": node}).encode())))
    with pytest.raises(Lost, match="a clock of etcd's was set forward"):
        rig.refresh()


def test_client_without_read_permission_or_key_learns_the_cluster(rig):
    rig.wire.fault("GET", Fault(error=Refused("x")))
    assert rig.lock.known_at("b:1", rig.deadline) == (77, True)
