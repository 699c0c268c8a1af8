# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the v2 lock, request by request: when a key counts, what renews it, what is written and deleted."""

from __future__ import annotations

import pytest

from ctdb_etcd.errors import Contended, Lost, Unavailable
from tests.support.fake_wire import Fault, Wire
from tests.support.fakes import sent
from tests.support.rigs import ONE, TTL, RigV2

pytest.importorskip("etcd", reason="python3-etcd is not installed")

TAKE = ["POST", "GET"]
REFRESH = ["PUT", "GET"]


@pytest.fixture
def rig(monkeypatch):
    return RigV2(monkeypatch)


@pytest.mark.parametrize("back", [0.0, 0.5, 2.5])
def test_first_grant_counts_from_before_its_request(rig, back):
    rig.wire.fault("POST", Fault(back=back))
    asked = rig.clock.now
    grant = rig.take()
    assert (sent(grant), grant.ttl) == (asked, TTL)
    assert grant.left() == TTL - (Wire.OUT + back + ONE) and rig.wire.names == TAKE


def test_key_made_without_an_answer_counts_from_its_first_renewal(rig):
    rig.wire.fault("POST", Fault(lost="back"))
    grant = rig.take()
    assert rig.wire.names == TAKE + REFRESH
    assert sent(grant) == pytest.approx(rig.asked("PUT")[0].sent[0])
    (name,) = rig.etcd.keys
    assert rig.etcd.left(name) >= grant.left()


def test_request_lost_on_its_way_is_sent_again_and_counts_from_then(rig):
    rig.wire.fault("POST", Fault(lost="out"))
    grant = rig.take()
    assert rig.wire.names == TAKE * 2
    assert sent(grant) == pytest.approx(rig.asked("POST")[1].sent[0])
    assert rig.values() == ["us"]


@pytest.mark.parametrize("back", [0.0, 0.5, 3.0])
def test_renewal_counts_from_before_its_request(rig, back):
    rig.held()
    rig.clock.pass_(2)
    rig.wire.fault("PUT", Fault(back=back))
    asked = rig.clock.now
    grant = rig.refresh()
    assert (sent(grant), grant.ttl) == (asked, TTL)
    assert grant.left() == TTL - (Wire.OUT + back + ONE)


def test_renewal_requested_twice_counts_from_the_first_request(rig):
    rig.held()
    rig.wire.fault("PUT", Fault(lost="out"))
    asked = rig.clock.now
    assert sent(rig.refresh()) == asked
    assert len(rig.asked("PUT")[0].sent) == 2 and rig.wire.names == REFRESH


def test_a_machine_that_sleeps_before_the_answer_has_used_up_that_time(rig):
    rig.wire.meanwhile("POST", lambda: rig.clock.suspend(2))
    assert rig.take().left() == TTL - 2 * ONE - 2
    rig.wire.meanwhile("PUT", lambda: rig.clock.suspend(2))
    assert rig.refresh().left() == TTL - 2 * ONE - 2


@pytest.mark.parametrize("granted, counts", [(20, TTL), (5, 5)])
def test_granted_ttl_counts_if_it_is_not_longer_than_requested(rig, granted, counts, monkeypatch):
    real = rig.etcd._shown
    monkeypatch.setattr(rig.etcd, "_shown", lambda name: {**real(name), "ttl": granted})
    assert rig.take().ttl == counts
    assert rig.refresh().ttl == counts


@pytest.mark.parametrize("took, renewed", [(TTL / 2 - 0.25, False), (TTL / 2, True), (TTL / 2 + 1, True)])
def test_a_grant_that_is_half_over_when_it_is_seen_is_renewed(rig, took, renewed):
    rig.wire.fault("GET", Fault(back=took - ONE - Wire.OUT))
    began = rig.clock.now
    grant = rig.take()
    assert rig.wire.names == TAKE + (REFRESH if renewed else [])
    assert sent(grant) == (began + took if renewed else began)


@pytest.mark.parametrize("ttl", [None, "8", 8.5])
def test_key_without_a_ttl_is_no_grant(rig, monkeypatch, ttl):
    real = rig.etcd._shown
    monkeypatch.setattr(rig.etcd, "_shown", lambda name: {**real(name), "ttl": ttl})
    with pytest.raises(Unavailable, match="makes no sense"):
        rig.take()


# Renewal


def test_renewal_swaps_our_value_for_itself_then_looks_with_quorum(rig):
    rig.held()
    (name,) = rig.etcd.keys
    rig.refresh()
    assert rig.wire.names == REFRESH
    swap, look = (request.body for request in rig.wire.requests)
    assert swap == {"key": name, "value": "us", "ttl": TTL, "prevValue": "us", "prevIndex": rig.etcd.index - 1}
    assert look["key"] == rig.directory.rstrip("/") and look["quorum"] == "true"


def test_every_look_requests_a_quorum(rig):
    rig.look()
    rig.take()
    rig.refresh()
    rig.release()
    looks = rig.asked("GET")
    assert len(looks) == 4 and all(look.body["quorum"] == "true" for look in looks)


def test_end_of_our_key_is_the_loss_and_the_key_is_not_made_again(rig):
    rig.held()
    rig.clock.pass_(TTL)
    with pytest.raises(Lost, match="its key is gone"):
        rig.refresh()
    assert not rig.etcd.keys


def test_end_of_our_key_between_a_renewal_and_its_look_is_the_loss(rig):
    rig.held()
    rig.wire.meanwhile("GET", lambda: rig.etcd.delete(*rig.etcd.keys))
    with pytest.raises(Lost):
        rig.refresh()


def test_key_whose_value_has_changed_is_the_loss_and_stays(rig):
    rig.held()
    rig.etcd.put(*rig.etcd.keys, "them")
    with pytest.raises(Lost):
        rig.refresh()
    rig.release()
    assert rig.values() == ["them"]


@pytest.mark.parametrize("number", [0, 1])
def test_rival_key_in_front_of_ours_is_the_loss_and_stays(rig, number):
    rig.held()
    rig.etcd.put(rig.key(number), "them")
    with pytest.raises(Lost, match="another key is in front"):
        rig.refresh()
    rig.release()
    assert rig.values() == ["them"]


def test_end_of_the_connection_ends_a_rest(rig):
    assert rig.lock.changes(rig.deadline) == rig.members.idle()


def test_keys_behind_ours_are_left_alone(rig):
    rig.held()
    rig.etcd.put(rig.key(99), "them")
    rig.refresh()
    assert rig.values() == ["us", "them"]


def test_a_second_key_of_ours_is_deleted_by_the_next_renewal(rig):
    rig.wire.fault("POST", Fault(again=5))
    rig.held()
    rig.clock.pass_(5)
    assert rig.values() == ["us", "us"]
    rig.refresh()
    assert rig.values() == ["us"]
    rig.refresh()


# Taking


def test_key_is_created_in_order_with_our_value_and_ttl(rig):
    rig.take()
    (made,) = rig.asked("POST")
    assert made.body == {"key": rig.directory.rstrip("/"), "value": "us", "ttl": TTL}
    (name,) = rig.etcd.keys
    assert rig.etcd.left(name) == TTL - Wire.BACK - ONE


def test_look_at_a_free_or_held_lock_is_one_request_and_no_write(rig):
    rig.look()
    rig.etcd.put(rig.key(7), "them")
    with pytest.raises(Contended) as contention:
        rig.look()
    assert str(contention.value) == "them" and rig.wire.names == ["GET"] * 2


def test_the_lowest_key_holds(rig):
    rig.etcd.put(rig.key(3), "second")
    rig.etcd.put(rig.key(2), "first")
    for attempt in rig.look, rig.take:
        with pytest.raises(Contended) as contention:
            attempt()
        assert str(contention.value) == "first"


def test_rival_key_made_between_our_look_and_our_key_holds_the_lock(rig):
    rig.look()
    rig.wire.meanwhile("POST", lambda: rig.take_as("them"))
    with pytest.raises(Contended) as contention:
        rig.take()
    assert str(contention.value) == "them"
    rig.release()
    assert rig.values() == ["them"]


def test_rival_key_made_after_ours_does_not_hold_the_lock(rig):
    def contend():
        with pytest.raises(Contended):
            rig.take_as("them")

    rig.wire.meanwhile("GET", contend)
    rig.take()
    assert rig.values() == ["us", "them"]


def test_first_of_two_keys_of_ours_is_the_lock(rig):
    rig.wire.fault("POST", Fault(lost="back"))
    rig.wire.fault("GET", Fault(effect=False, answer=(404, b'{"errorCode": 100, "message": "Key not found"}')))
    rig.take()
    rig.refresh()
    assert rig.values() == ["us"]
    rig.release()
    assert not rig.etcd.keys


def test_key_that_never_reaches_etcd_is_tried_until_the_deadline(rig):
    rig.wire.fault("POST", *[Fault(lost="out")] * 99)
    began = rig.clock.now
    # Each try takes 2 s, and a pause of 0.2 s follows. The last pause ends at the deadline.
    with pytest.raises(Unavailable, match="the creation of a key in time"):
        rig.lock.take(rig.contender, began + 10.9)
    assert rig.clock.now == began + 10.9 and rig.wire.names == TAKE * 5


def test_every_request_is_bounded_by_the_deadline_that_was_given(rig):
    deadline = rig.clock.now + 30
    for verb in "look", "take", "refresh", "release":
        rig.do(verb, deadline)
    assert {request.deadline for request in rig.wire.requests} == {deadline}
    assert rig.wire.names == ["GET", *TAKE, *REFRESH, "GET", "DELETE"]


# Release


def test_a_release_deletes_our_key_by_its_value_and_is_done_once(rig):
    rig.held()
    rig.etcd.put(rig.key(99), "them")
    rig.release()
    assert rig.values() == ["them"]
    assert [request.body["prevValue"] for request in rig.asked("DELETE")] == ["us"]
    rig.release()
    assert rig.wire.names == ["GET", "DELETE"]


def test_release_without_a_key_sends_nothing(rig):
    rig.look()
    rig.release()
    assert rig.wire.names == ["GET"]


def test_key_made_without_an_answer_is_released(rig):
    rig.wire.fault("POST", Fault(back=1000))
    with pytest.raises(Unavailable):
        rig.lock.take(rig.contender, rig.clock.now + 3)
    assert rig.values() == ["us"]
    rig.release()
    assert not rig.etcd.keys


def test_a_release_that_failed_can_be_repeated(rig):
    rig.held()
    rig.wire.fault("DELETE", Fault(effect=False, error=Unavailable("")))
    with pytest.raises(Unavailable):
        rig.release()
    rig.release()
    assert not rig.etcd.keys


@pytest.mark.parametrize("change", ["delete", "put"])
def test_key_changed_before_our_release_is_not_ours_to_delete(rig, change):
    rig.held()
    (name,) = rig.etcd.keys
    args = (name,) if change == "delete" else (name, "them")
    rig.wire.meanwhile("DELETE", lambda: getattr(rig.etcd, change)(*args))
    rig.release()
    assert rig.values() == ([] if change == "delete" else ["them"])
