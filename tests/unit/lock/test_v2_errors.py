# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The v2 lock when a request fails or the helper has to end, at each request: what it means, what stays in etcd."""

from __future__ import annotations

import pytest

from ctdb_etcd.errors import Contended, Lost, OtherCluster, Refused, Stopped, Unavailable
from tests.support.fake_wire import Fault
from tests.support.rigs import DEAD, RigV2, value

pytest.importorskip("etcd", reason="python3-etcd is not installed")

CORPSE = value(DEAD)


@pytest.fixture
def rig(monkeypatch):
    """The directory with the key of a dead process of this machine."""
    rig = RigV2(monkeypatch)
    rig.etcd.put(rig.key(1), CORPSE)
    return rig


@pytest.mark.parametrize("effect", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize("step", ["POST", "GET", "DELETE", "PUT", "GET 2"])
def test_a_stop_at_any_step_leaves_nothing_of_ours_behind_once_released(rig, step, effect):
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
# What an error or answer means at a call of a verb, if that is not the error itself.
MEANING = {
    ("look", "GET"): {NOT_FOUND: FINE},
    # What came of it is looked up.
    ("take", "POST"): {Unavailable: FINE},
    ("take", "GET"): {},
    ("take", "DELETE"): {NOT_FOUND: FINE, CHANGED: Contended},
    ("refresh", "PUT"): {NOT_FOUND: Lost, CHANGED: Lost, OtherCluster: Lost},
    ("refresh", "GET"): {NOT_FOUND: Lost, OtherCluster: Lost},
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
def test_what_each_error_means_at_each_call(rig, verb, step, error, meaning):
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
