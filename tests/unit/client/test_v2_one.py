# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of v2 requests to one endpoint: on its own, in a client apart, and for its health."""

from __future__ import annotations

import pytest

pytest.importorskip("etcd", reason="python3-etcd is not installed")

from ctdb_etcd.client import endpoints  # noqa: E402
from ctdb_etcd.client.endpoints import NO_LEADER  # noqa: E402
from ctdb_etcd.errors import Unavailable  # noqa: E402
from tests.support.fake_network import A, B, always, answer  # noqa: E402
from tests.support.rig_v2 import says  # noqa: E402
from tests.support.rig_v2 import rig as rig_fixture  # noqa: E402

rig = rig_fixture
NODE = {"action": "get", "node": {"key": "/k", "value": "v"}}


def look(client, until):
    return client.ask("look", lambda one: one.read("/k", quorum=True).value, until)


def of_cluster(number):
    return says(200, NODE, f"X-Etcd-Cluster-Id: {number}\r\n")


def test_first_endpoint_is_asked_once_over_the_kept_connection(rig):
    rig.read()
    assert look(rig.client, rig.clock.now + 8) == "v"
    assert rig.a.requests[1] == ("/v2/keys/k?quorum=true", {}) and len(rig.network.tried) == 1
    assert f"debug: v2 look: 200 from {A} in 0.0000 s" in rig.log.lines
    rig.a.fall_silent()
    began = rig.clock.now
    with pytest.raises(Unavailable, match="no answer in time$"):
        look(rig.client, began + 0.5)
    assert rig.clock.now == began + 0.5 and rig.asked() == [3, 0, 0]


def test_client_apart_asks_one_endpoint_of_whatever_cluster(rig, monkeypatch):
    monkeypatch.setattr(endpoints, "Patient", lambda: rig.waiter)
    rig.a.serve, rig.b.serve = of_cluster("abc"), of_cluster("def")
    rig.read()
    apart = rig.client.apart(B)
    assert apart.cluster is None and look(apart, rig.clock.now + 8) == "v"
    assert rig.asked() == [1, 1, 0] and apart.cluster == 0xDEF
    assert rig.client.cluster == 0xABC and rig.client.endpoint == A


def member(state, leader, seconds=0.0, prefix="/v2"):
    """Return a member's server: it answers each request after so many seconds."""
    answers = {
        "/version": {"etcdserver": "3.4.23", "etcdcluster": "3.4.0"},
        f"{prefix}/stats/self": {"state": state, "leaderInfo": {"leader": leader}},
    }
    return lambda path, body: always((seconds, answer(200, answers[path])))(path, body)


@pytest.mark.parametrize(
    "state, leader, more",
    [
        ("StateLeader", "ce2a822cea30bfca", {"leader": True}),
        ("StateFollower", "ce2a822cea30bfca", {"leader": False}),
        ("StateCandidate", "0", {"leader": False, "error": NO_LEADER}),
        ("StateFollower", "", {"leader": False, "error": NO_LEADER}),
    ],
)
def test_health_is_what_the_member_reports(rig, state, leader, more):
    rig.b.serve = member(state, leader)
    found = {}
    rig.client.health(B, rig.clock.now + 1, found)
    assert found == {"reachable": True, "version": "3.4.23", "latency": 0.0, **more}


def test_health_is_asked_below_the_prefix_of_the_api(rig):
    rig.b.serve = member("StateLeader", "1", prefix="/etcd/v2")
    rig.client._config.version_prefix = "/etcd/v2"
    found = {}
    rig.client.health(B, rig.clock.now + 1, found)
    assert found["leader"] is True


def test_latency_is_that_of_the_first_answer_in_microseconds(rig):
    rig.b.serve = member("StateLeader", "1", 0.1234564)
    found = {}
    rig.client.health(B, rig.clock.now + 1, found)
    assert found["latency"] == 0.123456


def test_health_of_a_member_without_an_answer_ends_at_the_deadline(rig):
    rig.b.fall_silent()
    began = rig.clock.now
    with pytest.raises(TimeoutError):
        rig.client.health(B, began + 0.5, {})
    assert rig.clock.now == began + 0.5
