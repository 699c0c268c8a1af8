# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of requests to one endpoint on a separate connection, and of the log lines."""

from __future__ import annotations

import pytest

from ctdb_etcd.errors import Refused, Unavailable
from ctdb_etcd.waiting import Patient
from tests.support.fake_network import A, B, FINE, STATUS, Cluster, always, answer, by_path, says


@pytest.fixture
def cluster(monkeypatch):
    return Cluster(monkeypatch)


def ask(cluster, seconds=8.0, endpoint=B):
    return cluster.client.ask(endpoint, "maintenance/status", {"a": 1}, cluster.clock.now + seconds)


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
    cluster.b.serve = says("etcdserver: permission denied")
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
