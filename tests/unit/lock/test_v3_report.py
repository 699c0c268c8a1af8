# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of what the v3 lock reports: to the log, to the check of all endpoints, and to --status and --check."""

from __future__ import annotations

import pytest

from ctdb_etcd.errors import LeaseNotFound, PermissionDenied, Refused, Unavailable
from tests.support.fake_v3 import decoded
from tests.support.fake_wire import Fault
from tests.support.rigs import ONE, TTL, RigV3


@pytest.fixture
def rig(monkeypatch):
    return RigV3(monkeypatch)


def test_the_log_names_the_directory_and_once_it_is_held_the_revision(rig):
    assert str(rig.lock) == rig.directory and rig.lock.endpoint == "etcd1:2379"
    rig.etcd.revision = 41
    rig.take()
    assert str(rig.lock) == f"{rig.directory} (v3, revision 42)"


# Whether one endpoint knows our lock


def known(rig):
    until = rig.clock.now + 2
    answer = rig.lock.known_at("b:1", until)
    assert rig.gateway.asked[-1] == "b:1" and rig.wire.requests[-1].deadline == until
    return answer


def test_our_key_is_looked_for_at_one_endpoint(rig):
    rig.held()
    assert known(rig) == (77, True)
    (look,) = rig.wire.requests
    assert look.name == "kv/range" and [decoded(look.body["key"])] == list(rig.etcd.keys)


@pytest.mark.parametrize("back", [True, False])
def test_key_that_is_gone_or_replaced_is_not_ours(rig, back):
    rig.held()
    ((name, text),) = rig.etcd.keys.items()
    rig.etcd.delete(name)
    if back:
        rig.etcd.put(name, text, *rig.etcd.leases)
    assert known(rig) == (77, False)


@pytest.mark.parametrize("left, there", [("8", True), ("1", True), ("0", False), ("-1", False), (None, False)])
def test_lease_is_looked_for_before_there_is_a_key(rig, left, there):
    asked = []

    def look():
        rig.wire.fault("lease/timetolive", Fault(answer={"header": {"cluster_id": "77"}, "TTL": left or 0}))
        asked.append(known(rig))
        asked.append(rig.wire.requests[-1].body["ID"])

    rig.lock.try_lease(rig.deadline, look)
    assert asked == [(77, there), rig.asked("lease/grant")[0].body["ID"]]


def test_lock_without_a_lease_is_not_known_to_an_endpoint(rig):
    assert known(rig) == (77, False) and rig.wire.requests[-1].body == {"ID": 0}


# The members of etcd


def test_members_are_lists_of_the_urls_that_they_have_for_clients(rig):
    rig.etcd.members = [{"clientURLs": ["http://a:1", "http://b:1"]}, {"name": "not started"}]
    deadline = rig.clock.now + 3
    assert rig.lock.members(deadline) == [["http://a:1", "http://b:1"], []]
    assert rig.wire.requests[0].deadline == deadline


@pytest.mark.parametrize("answer", [{}, {"members": {}}, {"members": [[]]}, {"members": [{"clientURLs": "x"}]}])
def test_members_answer_that_is_not_a_list_makes_no_sense(rig, answer):
    rig.wire.fault("cluster/member/list", Fault(answer=answer))
    with pytest.raises(Unavailable, match="makes no sense"):
        rig.lock.members(rig.deadline)


# The keys


def test_keys_come_in_order_of_their_creation_with_their_leases(rig):
    rig.etcd.put(f"{rig.directory}z", "first", 0xA, 9)
    rig.etcd.put(f"{rig.directory}a", "second")
    rig.etcd.put(f"{rig.directory}b", "third", 0xB, 5)
    found, stale = rig.lock.keys(rig.deadline, 2)
    assert [(key.name[-1], key.value, key.lease, key.left, key.ttl) for key in found] == [
        ("z", "first", 0xA, 8, 9),
        ("a", "second", 0, None, None),
    ]
    assert stale == "" and [request.body for request in rig.asked("lease/timetolive")] == [{"ID": 0xA}]
    assert (found[0].revision, found[0].modified) == (2, 2)


def test_keys_may_use_half_of_the_time_and_leases_another_quarter(rig):
    rig.etcd.put(f"{rig.directory}z", "first", 0xA, 9)
    began = rig.clock.now
    rig.lock.keys(began + 8, 9)
    assert [request.deadline for request in rig.wire.requests] == [began + 4, began + 6]


def test_no_lease_is_queried_after_three_quarters_of_the_time(rig):
    for number in range(3):
        rig.etcd.put(f"{rig.directory}{number}", "them", 0xA + number, 99)
    rig.wire.fault("kv/range", Fault(out=0.0, back=0.0))
    rig.wire.fault("lease/timetolive", *[Fault(out=0.0, back=0.375)] * 2)
    # The third lease's turn comes at three quarters of the time.
    found, _ = rig.lock.keys(rig.clock.now + 1, 9)
    assert [key.ttl for key in found] == [99, 99, None] and len(rig.asked("lease/timetolive")) == 2


@pytest.mark.parametrize("error", [Unavailable("x"), PermissionDenied("x"), LeaseNotFound("x")])
def test_lease_with_unknown_remaining_time_is_not_shown(rig, error):
    rig.etcd.put(f"{rig.directory}z", "first", 0xA, 9)
    rig.wire.fault("lease/timetolive", Fault(error=error))
    (key,), _ = rig.lock.keys(rig.deadline, 9)
    assert (key.value, key.left, key.ttl) == ("first", None, None)


def test_a_lease_that_has_just_expired_has_nothing_left(rig):
    rig.etcd.put(f"{rig.directory}z", "first", 0xA, 9)
    rig.wire.fault("lease/timetolive", Fault(answer={"TTL": "-1"}))
    (key,), _ = rig.lock.keys(rig.deadline, 9)
    assert (key.left, key.ttl) == (0, None)


def test_keys_of_one_member_are_shown_as_stale_without_a_majority(rig):
    rig.etcd.put(f"{rig.directory}z", "first", 0xA, 9)
    rig.wire.fault("kv/range", Fault(effect=False, error=Unavailable("no leader")))
    deadline = rig.clock.now + 8
    found, stale = rig.lock.keys(deadline, 9)
    assert [key.value for key in found] == ["first"] and stale == "no leader"
    first, second = rig.wire.requests
    assert second.body == {**first.body, "serializable": True} and first.body["limit"] == 9
    assert second.deadline == deadline and "serializable" not in first.body


@pytest.mark.parametrize("second", [Unavailable("y"), Refused("y")])
def test_first_failure_is_raised_if_no_member_answers_a_stale_read(rig, second):
    rig.wire.fault("kv/range", Fault(error=Unavailable("x")), Fault(error=second))
    with pytest.raises(Unavailable, match="x"):
        rig.lock.keys(rig.deadline, 9)


def test_keys_that_may_not_be_read_are_not_requested_again(rig):
    rig.wire.fault("kv/range", Fault(error=PermissionDenied("x")))
    with pytest.raises(PermissionDenied):
        rig.lock.keys(rig.deadline, 9)
    assert len(rig.wire.requests) == 1


# Trial lease and trial write


def test_trial_lease_is_granted_renewed_and_revoked(rig):
    leases = []
    rig.etcd._least = 11
    assert rig.lock.try_lease(rig.deadline, lambda: leases.extend(rig.etcd.leases)) == (11, ONE)
    assert rig.wire.names == ["lease/grant", "lease/keepalive", "lease/revoke"]
    assert leases == [rig.wire.requests[0].body["ID"]] and not rig.etcd.leases
    revoke = rig.wire.requests[-1]
    assert revoke.deadline == revoke.sent[0] + 1
    rig.release()
    assert len(rig.wire.requests) == 3


@pytest.mark.parametrize("name", ["lease/grant", "lease/keepalive"])
def test_trial_lease_is_revoked_after_an_error(rig, name):
    rig.wire.fault(name, Fault(error=Refused("x")))
    with pytest.raises(Refused):
        rig.lock.try_lease(rig.deadline, lambda: None)
    assert not rig.etcd.leases and rig.wire.names[-1] == "lease/revoke"


@pytest.mark.parametrize("error", [Unavailable("x"), Refused("x"), LeaseNotFound("x")])
def test_trial_lease_that_cannot_be_revoked_expires_by_itself(rig, error):
    rig.wire.fault("lease/revoke", Fault(effect=False, error=error))
    assert rig.lock.try_lease(rig.deadline, lambda: None)[0] == TTL


@pytest.mark.parametrize("keys", [0, 1])
def test_trial_write_in_the_directory_changes_nothing(rig, keys):
    for number in range(keys):
        rig.etcd.put(f"{rig.directory}{number}", "them")
    before, deadline = rig.etcd.keys, rig.clock.now + 3
    rig.lock.try_write(deadline)
    assert rig.etcd.keys == before
    (request,) = rig.wire.requests
    ((kind, put),) = request.body["success"][0].items()
    assert kind == "request_put" and decoded(put["key"]).startswith(f"{rig.directory}check-")
    assert request.deadline == deadline


def test_etcd_that_writes_despite_a_false_condition_is_not_trusted(rig):
    rig.wire.fault("kv/txn", Fault(answer={"succeeded": True}))
    with pytest.raises(Refused, match="do not trust it"):
        rig.lock.try_write(rig.deadline)
