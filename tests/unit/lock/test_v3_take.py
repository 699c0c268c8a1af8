# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of taking the v3 lock, request by request: what is read, what is written where, and which key is in front."""

from __future__ import annotations

import os

import pytest

from ctdb_etcd.errors import Contended, Unavailable
from tests.support.fake_wire import Fault
from tests.support.fakes import sent
from tests.support.rigs import ONE, TTL, RigV3, value

TAKE = ["lease/grant", "kv/txn"]
REFRESH = ["lease/keepalive", "kv/range"]
# etcd's answer if the key in front disappears just before it is read.
NOBODY = {"header": {}, "responses": [{"response_range": {}}, {"response_range": {}}]}


@pytest.fixture
def rig(monkeypatch):
    return RigV3(monkeypatch)


def test_the_key_is_put_under_our_lease_into_the_empty_directory(rig):
    rig.take()
    ((name, text),) = rig.etcd.keys.items()
    (lease,) = rig.etcd.leases
    assert name == f"{rig.directory}{lease:x}" and text == "us"
    rig.etcd.revoke(lease)
    assert not rig.etcd.keys


@pytest.mark.parametrize("random, lease", [(b"\xff" * 8, 2**63 - 1), (b"\x00" * 8, 1), (b"\x00" * 7 + b"\x01", 1)])
def test_a_lease_has_a_positive_number_that_etcd_takes(rig, monkeypatch, random, lease):
    monkeypatch.setattr(os, "urandom", lambda count: random[:count])
    rig.take()
    assert list(rig.etcd.leases) == [lease]


def test_two_locks_have_leases_of_their_own(rig):
    rig.take()
    with pytest.raises(Contended):
        rig.take_as("them")
    assert len(rig.etcd.leases) == 2


def test_clone_that_drew_the_same_number_is_contention_and_keeps_its_lock(rig, monkeypatch):
    monkeypatch.setattr(os, "urandom", lambda count: b"\x11" * count)
    us = value(7, nonce="a")
    first, clone = rig.another(), rig.another()
    first.take(rig.contender_as(us), rig.deadline)
    with pytest.raises(Contended) as contention:
        clone.take(rig.contender_as(value(7, nonce="b")), rig.deadline)
    clone.release(rig.deadline)
    assert str(contention.value) == us and rig.values() == [us] and "lease/revoke" not in rig.wire.names
    first.refresh(rig.deadline)


def test_our_key_that_somebody_overwrites_before_we_know_of_it_is_released(rig, monkeypatch):
    rig.wire.fault("kv/txn", Fault(lost="back"))
    (name, lease) = (f"{rig.directory}1111", 0x1111)
    monkeypatch.setattr(os, "urandom", lambda count: (2 * lease).to_bytes(count, "big"))
    rig.clock.at(rig.clock.now + 1.5, lambda: rig.etcd.put(name, "x", lease))
    with pytest.raises(Contended):
        rig.take()
    rig.release()
    assert not rig.etcd.keys and not rig.etcd.leases


def test_look_at_a_free_or_held_lock_is_one_request_and_no_write(rig):
    rig.look()
    rig.etcd.put(f"{rig.directory}a", "them")
    revision = rig.etcd.revision
    with pytest.raises(Contended) as contention:
        rig.look()
    assert str(contention.value) == "them"
    assert rig.wire.names == ["kv/range"] * 2 and rig.etcd.revision == revision
    assert all("serializable" not in request.body for request in rig.wire.requests)


@pytest.mark.parametrize("name", ["/_locks/_ctdb/X", "/_locks/_ctdb/X0", "/_locks/_ctdb/XX/a", "/_locks/_ctdb/X./a"])
def test_key_beside_the_directory_does_not_hold_the_lock(rig, name):
    rig.etcd.put(name, "them")
    rig.look()
    rig.take()
    assert name in rig.etcd.keys


@pytest.mark.parametrize("name", ["", "0", "~", "a/b", "\x7f"])
def test_any_key_below_the_directory_holds_the_lock(rig, name):
    rig.etcd.put(rig.directory + name, "them")
    for attempt in "look", "take":
        with pytest.raises(Contended):
            rig.do(attempt, rig.deadline)


def test_the_oldest_key_holds_whatever_its_name(rig):
    rig.etcd.put(f"{rig.directory}z", "first")
    rig.etcd.put(f"{rig.directory}a", "second")
    for attempt in "look", "take":
        with pytest.raises(Contended) as contention:
            rig.do(attempt, rig.deadline)
        assert str(contention.value) == "first"


def test_rival_key_put_between_our_look_and_our_put_holds_the_lock(rig):
    rig.look()
    rig.wire.meanwhile("kv/txn", lambda: rig.etcd.put(f"{rig.directory}0", "them"))
    with pytest.raises(Contended) as contention:
        rig.take()
    assert str(contention.value) == "them"
    rig.release()
    assert rig.values() == ["them"] and not rig.etcd.leases


def test_put_with_a_lost_answer_is_found_and_renewed_by_its_revision(rig):
    rig.wire.fault("kv/txn", Fault(lost="back"))
    # etcd's revision has moved on when the second try is answered.
    rig.clock.at(rig.clock.now + 2 * ONE, lambda: rig.etcd.put("/elsewhere", "them"))
    rig.take()
    assert len(rig.asked("kv/txn")[0].sent) == 2
    rig.refresh()
    assert rig.values() == ["us", "them"]


def test_lost_put_leaves_the_lock_to_the_first_rival(rig):
    rig.wire.fault("kv/txn", Fault(lost="out"))
    rig.clock.at(rig.clock.now + 1.5, lambda: rig.etcd.put(f"{rig.directory}0", "them"))
    with pytest.raises(Contended):
        rig.take()


def test_lease_that_ended_before_its_use_is_replaced_by_a_new_one(rig):
    rig.wire.fault("lease/grant", Fault(back=TTL))
    grant = rig.take()
    first, second = (request.body["ID"] for request in rig.asked("lease/grant"))
    assert first != second and list(rig.etcd.leases) == [second]
    assert sent(grant) == pytest.approx(rig.asked("lease/grant")[1].sent[0])


def test_take_that_begins_again_leaves_no_lease_behind(rig):
    # The answer is so late that the lease is renewed, and the key disappears meanwhile.
    rig.wire.fault("kv/txn", Fault(back=TTL * 0.6))
    rig.wire.meanwhile("lease/keepalive", lambda: rig.etcd.delete(*rig.etcd.keys))
    rig.take()
    assert list(rig.etcd.leases) == [rig.asked("lease/grant")[1].body["ID"]] and len(rig.etcd.keys) == 1


@pytest.mark.parametrize("left, waited", [(5, 1), (0.5, 0.5)])
def test_revocation_of_an_unused_lease_is_waited_for_up_to_a_second(rig, left, waited):
    rig.wire.fault("kv/txn", Fault(effect=False, answer=NOBODY))
    rig.wire.fault("lease/revoke", *[Fault(lost="out")] * 9)
    deadline = rig.clock.now + 2 * ONE + left
    try:
        rig.lock.take(rig.contender, deadline)
    except Unavailable:
        assert left < 1
    (revoke,) = rig.asked("lease/revoke")
    assert revoke.deadline == revoke.sent[0] + waited and rig.clock.now <= deadline


def test_key_gone_between_compare_and_read_begins_the_take_again(rig):
    rig.wire.fault("kv/txn", Fault(effect=False, answer=NOBODY))
    rig.take()
    assert rig.wire.names == ["lease/grant", "kv/txn", "lease/revoke", "lease/grant", "kv/txn"]
    assert len(rig.etcd.leases) == len(rig.etcd.keys) == 1


def test_look_and_take_request_only_the_first_key_of_many(rig):
    for number in range(9):
        rig.etcd.put(f"{rig.directory}{number}", "them")
    for attempt in rig.look, rig.take:
        with pytest.raises(Contended):
            attempt()
    (look,) = rig.asked("kv/range")
    (txn,) = rig.asked("kv/txn")
    assert look.body["limit"] == txn.body["failure"][0]["request_range"]["limit"] == 1


def test_revision_of_an_abandoned_attempt_is_not_shown(rig):
    rig.wire.fault("kv/txn", Fault(back=TTL))
    # Once the first key has ended with its lease, others hold.
    rig.clock.at(rig.clock.now + TTL + 1, lambda: rig.etcd.put(f"{rig.directory}1", "them"))
    with pytest.raises(Contended):
        rig.take()
    assert str(rig.lock) == rig.directory


def test_take_pauses_between_two_attempts(rig):
    rig.wire.fault("lease/grant", Fault(back=TTL))
    rig.take()
    first, second = rig.asked("lease/grant")
    (revoke,) = rig.asked("lease/revoke")
    assert second.sent[0] == pytest.approx(revoke.sent[0] + ONE + 0.2)
    assert any(line.startswith("info: not taken yet: ") for line in rig.log.lines)


def test_node_number_is_requested_before_etcd_is_queried(rig):
    asked = []
    rig.wire.meanwhile("lease/grant", lambda: asked.append(rig.contender.holder.begun))
    rig.take()
    assert asked == [1]


def test_every_request_is_bounded_by_the_deadline_that_was_given(rig):
    deadline = rig.clock.now + 30
    rig.lock.look(rig.contender, deadline)
    rig.lock.take(rig.contender, deadline)
    rig.lock.refresh(deadline)
    rig.lock.release(deadline)
    assert {request.deadline for request in rig.wire.requests} == {deadline}
    assert rig.wire.names == ["kv/range", *TAKE, *REFRESH, "lease/revoke"]
