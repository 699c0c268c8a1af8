# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of v2 takeovers: from dead processes of this machine by compare-and-delete, from others when the key ends."""

from __future__ import annotations

import pytest

from ctdb_etcd.errors import Contended
from tests.support.fake_wire import Wire
from tests.support.rigs import DEAD, ONE, RigV2, value

pytest.importorskip("etcd", reason="python3-etcd is not installed")

CORPSE = value(DEAD)


@pytest.fixture
def empty(monkeypatch):
    return RigV2(monkeypatch)


@pytest.fixture
def rig(empty):
    """Return a rig whose directory has the key of a dead process of this machine."""
    empty.etcd.put(empty.key(1), CORPSE)
    return empty


def test_dead_processes_are_evicted_by_their_values(rig):
    rig.etcd.put(rig.key(2), CORPSE)
    rig.look()
    rig.take()
    assert rig.values() == ["us"]
    assert [request.body["prevValue"] for request in rig.asked("DELETE")] == [CORPSE, CORPSE]
    rig.refresh()


def test_a_live_process_behind_a_dead_one_holds(rig):
    rig.etcd.put(rig.key(2), value(1))
    with pytest.raises(Contended) as contention:
        rig.take()
    assert str(contention.value) == value(1)
    rig.release()
    assert rig.values()[-1] == value(1) and "us" not in rig.values()


def test_live_process_in_front_of_a_dead_one_holds_neither_is_deleted(empty):
    empty.etcd.put(empty.key(1), value(1))
    empty.etcd.put(empty.key(2), CORPSE)
    with pytest.raises(Contended):
        empty.take()
    empty.release()
    assert empty.values() == [value(1), CORPSE]


def test_a_key_that_changes_before_its_eviction_stays_and_holds(rig):
    rig.wire.meanwhile("DELETE", lambda: rig.etcd.put(rig.key(1), "them"))
    with pytest.raises(Contended):
        rig.take()
    rig.release()
    assert rig.values() == ["them"]


def test_dead_process_whose_key_has_gone_meanwhile_does_not_block(rig):
    rig.wire.meanwhile("DELETE", lambda: rig.etcd.delete(rig.key(1)))
    rig.take()
    assert rig.values() == ["us"]


@pytest.mark.parametrize("left, waits", [(3.0, True), (6.0, False)])
def test_electing_contender_waits_only_for_an_unrenewed_key_in_front(monkeypatch, left, waits):
    rig = RigV2(monkeypatch, electing=True)
    rig.etcd.put(rig.key(1), value(1, lock_ttl=9, refresh=2), left + Wire.OUT)
    if waits:
        rig.look()
        assert not rig.etcd.keys
    else:
        with pytest.raises(Contended):
            rig.look()


def test_expired_key_is_waited_for(monkeypatch):
    rig = RigV2(monkeypatch, electing=True)
    rig.etcd.put(rig.key(1), value(1, lock_ttl=9, refresh=2), 1)
    real = rig.etcd._shown
    monkeypatch.setattr(rig.etcd, "_shown", lambda name: {**real(name), "ttl": None})
    rig.look()


def test_expired_key_that_stays_is_waited_for_two_seconds(monkeypatch):
    rig = RigV2(monkeypatch, electing=True)
    rig.etcd.put(rig.key(1), value(1, lock_ttl=9, refresh=2))
    real = rig.etcd._shown
    monkeypatch.setattr(rig.etcd, "_shown", lambda name: {**real(name), "ttl": None})
    began = rig.clock.now + ONE
    with pytest.raises(Contended):
        rig.look()
    # A look that began before the end of the wait is still answered.
    assert 2 <= rig.clock.now - began < 2 + ONE + 0.1
