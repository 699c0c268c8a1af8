# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of requests to one endpoint on a separate connection, of its health, and of the log lines."""

from __future__ import annotations

import pytest

from ctdb_etcd.client.endpoints import CLOSED, NO_LEADER
from ctdb_etcd.client.http1 import Disconnected
from ctdb_etcd.errors import EndpointRefused, Refused, Unavailable
from ctdb_etcd.waiting import Patient
from tests.support.fake_network import A, B, FINE, Cluster, always, answer, says

STATUS = {"header": {"cluster_id": "77", "member_id": "5"}, "leader": "5", "version": "3.5.9"}
DENIED = says("etcdserver: permission denied")


@pytest.fixture
def cluster(monkeypatch):
    return Cluster(monkeypatch)


def ask(cluster, seconds=8.0, endpoint=B):
    return cluster.client.ask(endpoint, "maintenance/status", {"a": 1}, cluster.clock.now + seconds)


def by_path(**answers):
    """Return a server that answers by the last part of the path, with a given piece or function."""

    def serve(path, body):
        found = answers[path.rpartition("/")[2]]
        return found(path, body) if callable(found) else [(0.0, found)]

    return serve


def test_one_endpoint_is_asked_on_a_connection_of_its_own(cluster):
    cluster.b.serve = always((0.25, answer(200, STATUS, "Date: today\r\n")))
    assert ask(cluster) == (STATUS, "today")
    assert cluster.b.requests == [("/v3/maintenance/status", {"a": 1})] and cluster.b.methods == ["POST"]
    assert not cluster.network.open() and not cluster.a.requests and cluster.client.endpoint == ""
    assert "Authorization" not in cluster.b.fields[0] and cluster.b.fields[0]["Content-Type"] == "application/json"


def test_answer_without_a_date_has_an_empty_one(cluster):
    assert ask(cluster) == (FINE, "")


def test_one_endpoint_is_asked_to_log_in_only_if_it_must(cluster):
    cluster.configured(2, "username = u\npassword = p\n")
    assert ask(cluster) == (FINE, "") and cluster.b.paths == ["/v3/maintenance/status"]

    def serve(path, body):
        if path.endswith("authenticate"):
            return [(0.0, answer(200, {**FINE, "token": "t1"}))]
        if "Authorization" not in cluster.b.fields[-1]:
            return says("etcdserver: user name is empty")(path, body)
        return [(0.0, answer(200, STATUS))]

    cluster.b.serve = serve
    cluster.b.requests.clear()
    for _ in range(2):
        assert ask(cluster) == (STATUS, "")
    status, login = "/v3/maintenance/status", "/v3/auth/authenticate"
    # The second call already has the token.
    assert cluster.b.paths == [status, login, status, status]
    assert cluster.b.fields[-1]["Authorization"] == "t1" and not cluster.network.open()


@pytest.mark.parametrize("seconds, took", [(1.0, 1.0), (8.0, 3.0)])
def test_silent_endpoint_is_waited_for_until_the_deadline_or_read_timeout(cluster, seconds, took):
    cluster.b.fall_silent()
    began = cluster.clock.now
    with pytest.raises(TimeoutError, match=f"^no answer in {took} s$"):
        ask(cluster, seconds)
    assert cluster.clock.now == began + took and not cluster.network.open()


def test_error_of_one_endpoint_is_raised_at_once(cluster):
    cluster.b.serve = says("etcdserver: no leader")
    with pytest.raises(Unavailable, match="no leader"):
        ask(cluster)
    cluster.b.serve = DENIED
    with pytest.raises(Refused, match="permission denied"):
        ask(cluster)


def test_client_apart_has_one_endpoint_the_same_token_and_only_deadlines(cluster):
    cluster.client._login._token = "t1"
    apart = cluster.client.apart(B)
    assert apart._endpoints.names() == [B] and isinstance(apart._endpoints.waiter, Patient)
    assert apart.logged_in and cluster.client.logged_in
    apart._login.forget()
    assert not apart.logged_in and cluster.client.logged_in
    assert apart._config is cluster.client._config and apart._log is cluster.log


def test_log_has_each_request_with_its_time_and_no_secret(cluster):
    cluster.configured(1, "username = u\npassword = hunter2\n")
    cluster.a.serve = by_path(authenticate=answer(200, {**FINE, "token": "t1"}), range=answer(200, STATUS))
    cluster.call(body={"key": "x"})
    assert cluster.log.lines[-3:] == [
        'wire: > POST /v3/kv/range {\'Authorization\': \'***\', \'Content-Type\': \'application/json\'} {"key": "x"}',
        f"debug: kv/range: 200 from {A} in 0.0000 s",
        'wire: < 200 {"header": {"cluster_id": "77", "member_id": "5"}, "leader": "5", "version": "3.5.9"}',
    ]
    assert "wire: > POST /v3/auth/authenticate {'Content-Type': 'application/json'} ***" in cluster.log.lines
    assert "wire: < 200 ***" in cluster.log.lines
    text = "\n".join(cluster.log.lines)
    assert "hunter2" not in text and "t1" not in text


def test_log_has_each_request_without_an_answer(cluster):
    cluster.configured(1)
    cluster.a.serve = always((0.25, ConnectionResetError(104, "Connection reset by peer")))
    with pytest.raises(Unavailable):
        cluster.call(1)
    assert f"debug: kv/range: no answer from {A} in 0.2500 s: Connection reset by peer" in cluster.log.lines


def test_log_has_what_an_endpoint_answers_that_speaks_no_http(cluster):
    cluster.configured(1)
    cluster.a.serve = always((0.0, b"SSH-2.0-x\r\n"))
    with pytest.raises(Unavailable):
        cluster.call(1)
    says = "what answers does not speak HTTP"
    assert f"debug: kv/range: no answer from {A} in 0.0000 s: {says}" in cluster.log.lines


# Calls


def test_request_with_a_dead_token_is_repeated_at_once(cluster):
    cluster.configured(1, "username = u\npassword = p\n")
    tokens = iter("ab")

    def serve(path, body):
        if path.endswith("authenticate"):
            return [(0.0, answer(200, {**FINE, "token": next(tokens)}))]
        good = cluster.a.fields[-1]["Authorization"] == "b"
        return [(0.0, answer(200, STATUS))] if good else says("etcdserver: invalid auth token")(path, body)

    cluster.a.serve = serve
    began = cluster.clock.now
    assert cluster.call() == STATUS and cluster.clock.now == began
    assert cluster.a.paths == ["/v3/auth/authenticate", "/v3/kv/range"] * 2


@pytest.mark.parametrize("seconds, most", [(60.0, 3.0), (4.0, 2.0)])
def test_name_servers_have_read_timeout_or_half_of_the_time(cluster, seconds, most):
    untils = []
    cluster.client._endpoints.find = untils.append
    cluster.call(seconds)
    assert untils == [cluster.clock.now + most]


def test_connection_is_made_again_once_after_the_file_was_read_again(cluster):
    for edition in 0, 1, 1:
        cluster.client._config.edition = edition
        cluster.call()
    assert len(cluster.network.tried) == 2 and len(cluster.network.open()) == 1


def test_connection_closed_without_an_answer_is_explained_by_the_protocol(cluster):
    client = cluster.client
    client._endpoints.explain = lambda *what: what
    assert str(client._explain(Disconnected(), A, 7)) == CLOSED
    error = OSError("x")
    assert client._explain(error, A, 7) == (error, A, 7)
    client._config.protocol = "https"
    assert client._explain(error := Disconnected(), A, 7) == (error, A, 7)


# Health


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
