# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the v3 lock, request by request: what renews it, and values that are too long to be read."""

from __future__ import annotations

import pytest

from ctdb_etcd.errors import Contended, Lost, TooLong, Unavailable
from ctdb_etcd.lock.holder import TOO_LONG
from tests.support.fake_v3 import decoded
from tests.support.fake_wire import Fault, Wire
from tests.support.fakes import sent
from tests.support.rigs import ONE, TTL, RigV3

TAKE = ["lease/grant", "kv/txn"]
REFRESH = ["lease/keepalive", "kv/range"]


@pytest.fixture
def rig(monkeypatch):
    return RigV3(monkeypatch)


@pytest.mark.parametrize("took, renewed", [(TTL / 2 - 0.25, False), (TTL / 2, True), (TTL / 2 + 1, True)])
def test_a_grant_that_is_half_over_when_the_key_is_put_is_renewed(rig, took, renewed):
    rig.wire.fault("kv/txn", Fault(back=took - ONE - Wire.OUT))
    began = rig.clock.now
    grant = rig.take()
    assert rig.wire.names == TAKE + (REFRESH if renewed else [])
    assert sent(grant) == (began + took if renewed else began)


def test_a_take_whose_grant_ends_before_it_is_renewed_begins_again(rig):
    rig.wire.fault("kv/txn", Fault(back=TTL))
    grant = rig.take()
    assert rig.wire.names == [*TAKE, "lease/keepalive", "lease/revoke", *TAKE]
    assert sent(grant) == pytest.approx(rig.asked("lease/grant")[1].sent[0])
    assert len(rig.etcd.leases) == len(rig.etcd.keys) == 1


# Renewal


def test_renewal_looks_at_our_key_after_its_answer_and_by_consensus(rig):
    rig.held()
    rig.refresh()
    assert rig.wire.names == REFRESH
    look = rig.wire.requests[1]
    assert look.sent[0] == rig.wire.requests[0].sent[0] + ONE
    assert [decoded(look.body.pop("key"))] == list(rig.etcd.keys) and look.body == {"keys_only": True}


@pytest.mark.parametrize("moment", REFRESH)
def test_deletion_of_our_key_is_the_loss_although_its_lease_is_renewed(rig, moment):
    rig.held()
    rig.wire.meanwhile(moment, lambda: rig.etcd.delete(*rig.etcd.keys))
    with pytest.raises(Lost, match="its key is gone"):
        rig.refresh()


def test_a_key_that_was_deleted_and_put_back_is_not_ours(rig):
    rig.held()
    ((name, text),) = rig.etcd.keys.items()
    (lease,) = rig.etcd.leases
    rig.etcd.delete(name)
    rig.etcd.put(name, text, lease)
    with pytest.raises(Lost):
        rig.refresh()


def test_key_whose_value_has_changed_is_still_ours(rig):
    rig.held()
    (name,) = rig.etcd.keys
    rig.etcd.put(name, "other", *rig.etcd.leases)
    rig.refresh()


@pytest.mark.parametrize("deposed", [1, 2])
def test_renewal_by_a_deposed_leader_is_repeated_and_counts_from_then(rig, deposed):
    rig.held()
    rig.etcd.deposed = deposed
    asked = rig.clock.now
    grant = rig.refresh()
    assert rig.wire.names == REFRESH * (deposed + 1)
    assert rig.log.lines == ["info: renewed by a deposed leader of etcd: renewing again"] * deposed
    assert sent(grant) == asked + deposed * 2 * ONE
    (left,) = rig.etcd.leases.values()
    assert left >= grant.left()


def test_lease_is_not_renewed_if_leaders_keep_changing(rig):
    rig.held()
    rig.etcd.deposed = 99
    with pytest.raises(Unavailable, match="keeps changing its leader"):
        rig.refresh()
    assert rig.wire.names == REFRESH * 3


def test_leader_elected_between_renewal_and_look_confirms_nothing(rig):
    rig.held()

    def elect():
        rig.etcd.term += 1

    rig.wire.meanwhile("kv/range", elect)
    rig.refresh()
    assert rig.wire.names == REFRESH * 2


def test_a_lease_that_ends_while_a_deposed_leader_renews_it_is_the_loss(rig):
    rig.held()
    rig.clock.pass_(TTL - 3 * ONE)
    rig.etcd.deposed = 1
    with pytest.raises(Lost):
        rig.refresh()


# Values that are too long to be read


def test_key_in_front_with_too_long_a_value_is_contention(rig):
    rig.etcd.put(rig.directory + "x", "them")
    rig.wire.fault("kv/range", Fault(error=TooLong("x")))
    with pytest.raises(Contended) as contention:
        rig.look()
    assert str(contention.value) == TOO_LONG and rig.wire.requests[1].body["keys_only"] is True


def test_keys_with_too_long_values_are_shown_by_their_names(rig):
    for name in "yx":
        rig.etcd.put(rig.directory + name, "them", ttl=9, lease=ord(name))
    rig.wire.fault("kv/range", Fault(error=TooLong("x")))
    keys, stale = rig.lock.keys(rig.deadline, 9)
    assert [(key.name, key.value) for key in keys] == [(rig.directory + name, TOO_LONG) for name in "yx"]
    assert keys[0].ttl == 9 and not stale


def test_key_names_over_the_answer_limit_make_the_lock_unavailable(rig):
    rig.wire.fault("kv/range", *[Fault(error=TooLong("x"))] * 9)
    for read in rig.look, lambda: rig.lock.keys(rig.deadline, 9):
        with pytest.raises(Unavailable):
            read()
