# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the health of one member by the v3 client: what it reports, what is open to everybody, and its faults."""

from __future__ import annotations

import pytest

from ctdb_etcd.client.endpoints import NO_LEADER
from ctdb_etcd.errors import EndpointRefused
from tests.support.fake_network import B, STATUS, Cluster, answer, by_path, says

DENIED = says("etcdserver: permission denied")


@pytest.fixture
def cluster(monkeypatch):
    return Cluster(monkeypatch)


def health(cluster, **answers):
    found = {}
    cluster.b.serve = by_path(**answers)
    cluster.client.health(B, cluster.clock.now + 8, found)
    return found


def test_health_of_a_member_is_what_it_reports(cluster):
    found = health(cluster, status=lambda path, body: [(0.1234567, answer(200, STATUS, "Date: today\r\n"))])
    assert found == {
        "reachable": True,
        "version": "3.5.9",
        "leader": True,
        "cluster_id": "4d",
        "latency": 0.123457,
        "date": "today",
        "alarms": [],
        "error": None,
    }


@pytest.mark.parametrize(
    "more, leader, alarms, error",
    [
        ({"leader": "6"}, False, [], None),
        ({"leader": "0"}, None, [], NO_LEADER),
        ({"leader": "0", "isLearner": True}, None, [], NO_LEADER),
        ({"isLearner": True}, True, [], "it is a learner, which serves no lock: promote it, or take it out of host"),
        ({"errors": ["memberID:1 alarm:NOSPACE ", "x", "y"]}, True, ["NOSPACE"], "x; y"),
        ({"errors": ["memberID:2 alarm:B", "memberID:1 alarm:A", "memberID:3 alarm:A"]}, True, ["A", "B"], None),
        ({"errors": None}, True, [], None),
    ],
)
def test_leader_alarms_and_errors_of_a_member_are_told_apart(cluster, more, leader, alarms, error):
    found = health(cluster, status=answer(200, {**STATUS, **more}))
    assert (found["leader"], found["alarms"], found["error"]) == (leader, alarms, error)


def test_member_that_names_no_leader_and_no_version_is_shown_so(cluster):
    found = health(cluster, status=answer(200, {"header": {"cluster_id": "77"}}))
    assert (found["version"], found["leader"], found["error"]) == (None, None, NO_LEADER)


def test_health_of_an_endpoint_that_cannot_be_used_is_its_error(cluster):
    with pytest.raises(EndpointRefused):
        health(cluster, status=answer(404, b"404 page not found"))


OPEN = {"status": DENIED, "version": answer(200, {"etcdserver": "3.4.0"}, "Date: today\r\n")}
LIST = answer(200, {"header": {"cluster_id": "77"}})


def test_member_that_lets_only_root_ask_reports_what_is_open(cluster):
    slow = lambda path, body: [(0.1234567, OPEN["version"])]  # noqa: E731
    found = health(cluster, **{**OPEN, "version": slow}, health=answer(200, {"health": "true"}), list=LIST)
    assert found.pop("note").startswith("which member leads is not known: etcd reports: etcdserver: permission denied")
    assert found == {
        "reachable": True,
        "version": "3.4.0",
        "date": "today",
        "latency": 0.123457,
        "cluster_id": "4d",
    }
    assert cluster.b.methods == ["POST", "GET", "GET", "POST"]
    assert cluster.b.paths[1:] == ["/version", "/health", "/v3/cluster/member/list"] and not cluster.network.open()


@pytest.mark.parametrize(
    "body, alarms, error",
    [
        ({"health": True}, None, None),
        ({"health": "false", "reason": "ALARM NOSPACE"}, ["NOSPACE"], None),
        ({"health": False, "reason": "x"}, [], "it reports that it is not healthy: x"),
        ({"health": "false"}, [], "it reports that it is not healthy: it gives no reason"),
    ],
)
def test_open_health_of_a_member_names_alarm_or_reason(cluster, body, alarms, error):
    found = health(cluster, **OPEN, health=answer(200, body), list=DENIED)
    assert (found.get("alarms"), found.get("error"), "cluster_id" in found) == (alarms, error, False)
