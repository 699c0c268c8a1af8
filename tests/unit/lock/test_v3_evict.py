# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of v3 takeovers: from a dead process of this machine by one transaction, from others when the lease ends."""

from __future__ import annotations

import pytest

from ctdb_etcd.errors import Contended
from tests.support.fake_wire import Fault
from tests.support.fakes import sent
from tests.support.rigs import DEAD, ONE, RigV3, value


@pytest.fixture
def empty(monkeypatch):
    return RigV3(monkeypatch)


@pytest.fixture
def rig(empty):
    """Return a rig whose directory has the key of a dead process of this machine, under its own lease."""
    empty.etcd.put(f"{empty.directory}dead", value(DEAD), 0xDEAD, 1000)
    return empty


def test_a_dead_process_is_evicted_and_its_lease_ended(rig):
    rig.look()
    grant = rig.take()
    assert rig.values() == ["us"] and 0xDEAD not in rig.etcd.leases
    assert rig.wire.names == ["kv/range", "lease/grant", "kv/txn", "kv/txn", "lease/revoke"]
    assert sent(grant) == rig.asked("lease/grant")[0].sent[0]
    rig.refresh()


@pytest.mark.parametrize("seconds, bound", [(20.0, 1.0), (4 * ONE, 4 * ONE - 3 * ONE)])
def test_end_of_an_evicted_lease_is_waited_for_until_the_deadline(rig, seconds, bound):
    deadline = rig.clock.now + seconds
    rig.lock.take(rig.contender, deadline)
    (revoke,) = rig.asked("lease/revoke")
    assert revoke.deadline == revoke.sent[0] + bound <= deadline


def test_eviction_of_a_key_without_a_lease_ends_no_lease(empty):
    empty.etcd.put(f"{empty.directory}dead", value(DEAD))
    empty.take()
    assert empty.values() == ["us"] and empty.wire.names == ["lease/grant", "kv/txn", "kv/txn"]
    assert empty.log.lines[0].startswith("info: evicted from /_locks/_ctdb/X/, its process is gone: ")


def test_a_live_process_is_not_evicted(empty):
    empty.etcd.put(f"{empty.directory}alive", value(1), 0xA11, 1000)
    with pytest.raises(Contended):
        empty.take()
    assert empty.values() == [value(1)] and 0xA11 in empty.etcd.leases
    assert empty.wire.names == ["lease/grant", "kv/txn"]


def second_txn(rig, action):
    """Run the action before the transaction that evicts, which is the second one."""
    rig.wire.meanwhile("kv/txn", lambda: rig.wire.meanwhile("kv/txn", action))


@pytest.mark.parametrize("text", [value(1), value(DEAD)])
def test_a_key_that_changes_before_its_eviction_stays_and_holds(rig, text):
    second_txn(rig, lambda: rig.etcd.put(f"{rig.directory}dead", text, 0xDEAD))
    with pytest.raises(Contended):
        rig.take()
    assert rig.values() == [text] and 0xDEAD in rig.etcd.leases


@pytest.mark.parametrize("when", ["from the beginning", "at the last moment"])
def test_dead_process_is_not_evicted_if_another_client_waits_behind_it(rig, when):
    def wait():
        rig.etcd.put(f"{rig.directory}waiting", "them")

    if when == "from the beginning":
        wait()
    else:
        second_txn(rig, wait)
    with pytest.raises(Contended):
        rig.take()
    rig.release()
    assert rig.values() == [value(DEAD), "them"] and 0xDEAD in rig.etcd.leases


def test_dead_process_whose_key_has_gone_meanwhile_needs_another_try(rig):
    second_txn(rig, lambda: rig.etcd.revoke(0xDEAD))
    rig.take()
    assert rig.values() == ["us"]


def test_eviction_with_a_lost_answer_is_found(rig):
    rig.wire.fault("kv/txn", None, Fault(lost="back"))
    rig.take()
    rig.refresh()
    assert rig.values() == ["us"]


def test_end_of_an_evicted_lease_is_waited_for_a_second_at_most(rig):
    rig.wire.fault("lease/revoke", Fault(back=1000))
    began = rig.clock.now
    rig.take()
    assert rig.clock.now == began + 3 * ONE + 1


WAITS = [(3.0, 60, True), (6.0, 60, False), (3.0, 6.0, True), (3.0, 2.5, False)]


@pytest.mark.parametrize("left, latest, waits", WAITS)
def test_electing_contender_queries_the_lease_in_front(monkeypatch, left, latest, waits):
    rig = RigV3(monkeypatch, electing=True)
    rig.wait_until(latest)
    # A live holder's lease always has at least 9 - 2 - 1 s left.
    rig.etcd.put(f"{rig.directory}them", value(1, lock_ttl=9, refresh=2), 0xBEEF, ONE + left + 0.25)
    if waits:
        rig.look()
        assert not rig.etcd.keys
    else:
        with pytest.raises(Contended):
            rig.look()
    assert [request.body for request in rig.asked("lease/timetolive")][0] == {"ID": 0xBEEF}
