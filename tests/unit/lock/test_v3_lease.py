# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the lease of the v3 lock: when it begins to count, for how long, and when it is lost."""

from __future__ import annotations

import pytest

from ctdb_etcd.errors import Lost, Unavailable
from tests.support.fake_wire import Fault, Wire
from tests.support.fakes import sent
from tests.support.rigs import ONE, TTL, RigV3

TAKE = ["lease/grant", "kv/txn"]


@pytest.fixture
def rig(monkeypatch):
    return RigV3(monkeypatch)


@pytest.mark.parametrize("back", [0.0, 0.5, 2.5])
def test_first_grant_counts_from_before_its_request(rig, back):
    rig.wire.fault("lease/grant", Fault(back=back))
    asked = rig.clock.now
    grant = rig.take()
    assert (sent(grant), grant.ttl) == (asked, TTL)
    assert grant.left() == TTL - (Wire.OUT + back + ONE) and rig.wire.names == TAKE


@pytest.mark.parametrize("lost", ["out", "back"])
def test_first_grant_requested_twice_counts_from_the_first_request(rig, lost):
    rig.wire.fault("lease/grant", Fault(lost=lost))
    asked = rig.clock.now
    grant = rig.take()
    assert (sent(grant), grant.ttl) == (asked, TTL)
    assert rig.wire.names == TAKE and len(rig.asked("lease/grant")[0].sent) == 2
    (left,) = rig.etcd.leases.values()
    assert left >= grant.left()


@pytest.mark.parametrize("back", [0.0, 0.5, 3.0])
def test_renewal_counts_from_before_its_request(rig, back):
    rig.held()
    rig.clock.pass_(2)
    rig.wire.fault("lease/keepalive", Fault(back=back))
    asked = rig.clock.now
    grant = rig.refresh()
    assert (sent(grant), grant.ttl) == (asked, TTL)
    assert grant.left() == TTL - (Wire.OUT + back + ONE)


@pytest.mark.parametrize("lost", ["out", "back"])
def test_renewal_requested_twice_counts_from_the_first_request(rig, lost):
    rig.held()
    rig.wire.fault("lease/keepalive", Fault(lost=lost))
    asked = rig.clock.now
    assert sent(rig.refresh()) == asked
    assert len(rig.asked("lease/keepalive")[0].sent) == 2


def test_a_machine_that_sleeps_before_the_answer_has_used_up_that_time(rig):
    rig.wire.meanwhile("lease/grant", lambda: rig.clock.suspend(2))
    assert rig.take().left() == TTL - 2 * ONE - 2
    rig.wire.meanwhile("lease/keepalive", lambda: rig.clock.suspend(2))
    assert rig.refresh().left() == TTL - 2 * ONE - 2


@pytest.mark.parametrize("granted", [20, 3])
def test_granted_ttl_counts_and_not_the_requested_one(rig, granted):
    # The lease in etcd is longer, so that it does not end during the test.
    rig.etcd._least = 20
    renewed = Fault(answer={"result": {"header": {"raft_term": "7"}, "TTL": str(granted)}})
    rig.wire.fault("lease/grant", Fault(answer={"TTL": str(granted)}))
    rig.wire.fault("lease/keepalive", renewed, renewed)
    assert rig.take().ttl == granted
    assert rig.refresh().ttl == granted


def test_existing_lease_counts_for_no_longer_than_requested(rig):
    rig.etcd._least = 20
    rig.wire.fault("lease/grant", Fault(lost="back"))
    assert rig.take().ttl == TTL


def test_a_lease_that_has_ended_is_the_loss(rig):
    rig.held()
    rig.clock.pass_(TTL)
    with pytest.raises(Lost, match="its lease is gone"):
        rig.refresh()
    assert rig.wire.names == ["lease/keepalive"]


@pytest.mark.parametrize("ttl", [{}, {"TTL": "0"}, {"TTL": "-1"}])
def test_renewal_without_time_left_is_a_loss(rig, ttl):
    rig.held()
    rig.wire.fault("lease/keepalive", Fault(effect=False, answer={"result": {"header": {"raft_term": "7"}, **ttl}}))
    with pytest.raises(Lost, match="its lease is gone"):
        rig.refresh()


@pytest.mark.parametrize("verb", ["take", "refresh"])
@pytest.mark.parametrize("ttl, good", [(9_000_000_000, True), (9_000_000_001, False), (1, True)])
def test_ttl_of_a_lease_is_accepted_from_a_second_to_etcds_maximum(rig, verb, ttl, good):
    rig.wire.fault("lease/grant", Fault(out=0.0, back=0.0, answer={"TTL": str(ttl)}) if verb == "take" else None)
    header = {"header": {"raft_term": "7"}}
    rig.wire.fault("lease/keepalive", *[Fault(answer={"result": {**header, "TTL": str(ttl)}})] * 2)
    if verb == "refresh":
        rig.held()
    if good:
        assert rig.do(verb, rig.deadline).ttl == ttl
    else:
        with pytest.raises(Unavailable, match="a lease that never ends"):
            rig.do(verb, rig.deadline)
