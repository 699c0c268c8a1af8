# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of what the v2 lock reports: to the log, to the check of all endpoints, and to --status and --check."""

from __future__ import annotations

import json

import pytest

from ctdb_etcd.errors import Refused, Unavailable
from tests.support.fake_wire import Fault
from tests.support.rigs import RigV2

pytest.importorskip("etcd", reason="python3-etcd is not installed")


@pytest.fixture
def rig(monkeypatch):
    return RigV2(monkeypatch)


def test_the_log_names_the_directory_and_once_it_is_held_the_key(rig):
    assert str(rig.lock) == rig.directory and rig.lock.endpoint == "etcd1:2379"
    rig.etcd.index = 41
    rig.take()
    assert str(rig.lock) == f"{rig.directory} (v2, key 42)"


def test_report_waits_on_the_idle_connection(rig):
    assert rig.lock.changes(rig.clock.now + 1) == {7: 1}


# Whether one endpoint knows our lock


def known(rig):
    until = rig.clock.now + 2
    answer = rig.lock.known_at("b:1", until)
    assert rig.members.asked == ["b:1"] and rig.wire.requests[-1].deadline == until
    return answer


def test_our_key_is_looked_for_at_one_endpoint(rig):
    rig.held()
    assert known(rig) == (77, True)
    (look,) = rig.wire.requests
    assert look.body == {"key": list(rig.etcd.keys)[0], "quorum": "true"}


@pytest.mark.parametrize("value", [None, "them"])
def test_a_key_that_is_gone_or_has_another_value_is_not_ours(rig, value):
    rig.held()
    (name,) = rig.etcd.keys
    rig.etcd.delete(name)
    if value:
        rig.etcd.put(name, value)
    assert known(rig) == (77, False)


@pytest.mark.parametrize("there", [True, False])
def test_only_the_cluster_is_queried_before_there_is_a_key(rig, there):
    if there:
        rig.etcd.put(rig.key(1), "them")
    assert known(rig) == (77, True)
    assert rig.wire.requests[0].body["key"] == rig.directory.rstrip("/")


def test_client_without_read_permission_learns_only_the_cluster(rig):
    rig.held()
    rig.wire.fault("GET", Fault(error=Refused("x")))
    assert known(rig) == (77, True)


@pytest.mark.parametrize("fault, error", [(None, Unavailable), (Fault(error=Refused("x")), Refused)])
def test_endpoint_that_names_no_cluster_proves_nothing(rig, fault, error):
    rig.held()
    rig.members.cluster = None
    rig.wire.fault("GET", fault)
    with pytest.raises(error):
        known(rig)


# Members, keys and trials


def test_members_are_lists_of_the_urls_that_they_have_for_clients(rig):
    rig.etcd.members = [{"id": "1", "clientURLs": ["http://a:1", "http://b:1"]}, {"id": "2"}]
    deadline = rig.clock.now + 3
    assert rig.lock.members(deadline) == [["http://a:1", "http://b:1"], []]
    assert rig.wire.requests[0].deadline == deadline


def test_member_whose_urls_are_not_a_list_makes_no_sense(rig):
    rig.etcd.members = [{"id": "1", "clientURLs": 5}]
    with pytest.raises(Unavailable, match="makes no sense"):
        rig.lock.members(rig.deadline)


def test_keys_are_listed_in_order_and_up_to_the_requested_number(rig):
    for number in (3, 1, 2):
        rig.etcd.put(rig.key(number), str(number), 9)
    deadline = rig.clock.now + 3
    found, stale = rig.lock.keys(deadline, 2)
    assert [(key.value, key.left, key.ttl) for key in found] == [("1", 9, None), ("2", 9, None)]
    assert stale == "" and rig.wire.requests[0].deadline == deadline


def test_look_reads_all_keys_by_consensus(rig):
    rig.look()
    (look,) = rig.wire.requests
    assert look.body == {
        "key": rig.directory.rstrip("/"), "recursive": "true", "sorted": "true", "quorum": "true"
    }


def test_v2_lock_tries_no_lease(rig):
    assert rig.lock.try_lease(rig.deadline, lambda: None) is None and not rig.wire.requests


@pytest.mark.parametrize("there", [True, False])
def test_trial_write_is_to_a_key_that_nobody_has(rig, there):
    if there:
        rig.etcd.put(rig.key(1), "them")
    before, deadline = rig.etcd.keys, rig.clock.now + 3
    rig.lock.try_write(deadline)
    assert rig.etcd.keys == before
    (request,) = rig.wire.requests
    assert request.name == "PUT" and request.body["key"].startswith(f"{rig.directory}check-")
    assert request.body["prevValue"] == request.body["key"] and request.body["ttl"] == 1
    assert request.deadline == deadline


CHANGED = (412, b'{"errorCode": 101, "message": "Compare failed"}')


def test_existing_key_at_a_trial_write_is_not_changed(rig):
    rig.wire.fault("PUT", Fault(answer=CHANGED))
    rig.lock.try_write(rig.deadline)


def test_trial_write_that_succeeds_is_no_error(rig):
    node = {"key": rig.key(1), "value": "", "ttl": 1, "createdIndex": 9, "modifiedIndex": 9}
    done = json.dumps({"action": "compareAndSwap", "node": node}).encode()
    rig.wire.fault("PUT", Fault(effect=False, answer=(200, done)))
    rig.lock.try_write(rig.deadline)


@pytest.mark.parametrize("error", [Refused, Unavailable])
def test_refused_trial_write_is_an_error(rig, error):
    rig.wire.fault("PUT", Fault(error=error("x")))
    with pytest.raises(error):
        rig.lock.try_write(rig.deadline)
