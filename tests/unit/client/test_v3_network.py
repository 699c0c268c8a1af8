# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of v3 gateway calls over a failing network: endpoints, time limits, and what is not used again."""

from __future__ import annotations

import pytest

from ctdb_etcd.errors import EndpointRefused, LeaseExists, LeaseNotFound, OtherCluster, PermissionDenied
from ctdb_etcd.errors import Refused, Stopped, Unavailable
from tests.support.fake_network import FINE, A, B, C, Cluster, always, answer, fine, says

CLOSED = ConnectionResetError(104, "Connection reset by peer")
NOT_SERVED = always((0.0, answer(404, b"404 page not found")))


@pytest.fixture
def cluster(monkeypatch):
    return Cluster(monkeypatch)


# Choice of the endpoint


def test_first_endpoint_is_used_over_one_connection(cluster):
    client = cluster.client
    for _ in range(3):
        assert cluster.call() == FINE
    assert len(cluster.network.tried) == 1 and cluster.a.paths == ["/v3/kv/range"] * 3
    assert client.endpoint == A


def test_path_and_body_are_sent(cluster):
    cluster.call(path="lease/grant", body={"ID": 1, "TTL": 9})
    assert cluster.a.requests == [("/v3/lease/grant", {"ID": 1, "TTL": 9})]


def test_refusing_endpoint_costs_no_time_and_the_next_one_is_kept(cluster):
    client = cluster.client
    cluster.a.refuse()
    began = cluster.clock.now
    assert cluster.call() == FINE and cluster.clock.now == began and client.endpoint == B
    assert client._endpoints.names() == [B, C, A]
    cluster.a.error = 0
    cluster.call()
    assert cluster.b.paths == ["/v3/kv/range"] * 2 and not cluster.a.requests


def test_dead_endpoint_delays_by_a_twentieth_of_a_second(cluster):
    client = cluster.client
    cluster.a.never_connect()
    began = cluster.clock.now
    assert cluster.call() == FINE and client.endpoint == B
    assert cluster.network.tried == [(A, began), (B, began + 0.05)] and cluster.network.open() == [B]


def test_a_slow_endpoint_that_connects_before_the_others_is_used(cluster):
    client = cluster.client
    cluster.a.connects = 0.3
    cluster.b.never_connect()
    cluster.c.never_connect()
    assert cluster.call() == FINE and client.endpoint == A
    assert cluster.network.open() == [A]


@pytest.mark.parametrize(
    "serve",
    [
        always((0.0, b"SSH-2.0-x\r\n")),
        always((0.0, b"HTTP/1.1 200 OK\r\n")),
        always((0.0, b"HTTP/1.1 200 OK\r\n"), (0.0, b"")),
        always((0.0, b"")),
        always((0.0, CLOSED)),
        always((0.0, answer(200, b"[]"))),
        always((0.0, answer(200, b"{"))),
        always((0.0, answer(404, b"404 page not found"))),
        says("etcdserver: no leader"),
        says("etcdserver: not capable"),
        says("anything"),
    ],
)
def test_next_endpoint_is_used_however_the_first_one_fails(cluster, serve):
    client = cluster.client
    cluster.a.serve = serve
    assert cluster.call() == FINE and client.endpoint == B
    assert cluster.network.open() == [B] and len(cluster.a.requests) == 1


# Time limits


def test_silent_endpoint_is_waited_for_up_to_read_timeout(cluster):
    client = cluster.client
    cluster.a.fall_silent()
    began = cluster.clock.now
    assert cluster.call(60) == FINE and client.endpoint == B
    assert cluster.clock.now == began + 3


@pytest.mark.parametrize("count, share", [(3, 3), (2, 2), (1, 2)])
def test_silent_endpoint_leaves_time_for_another_attempt(cluster, count, share):
    cluster.configured(count, "read_timeout = 60")
    cluster.a.fall_silent()
    began = cluster.clock.now
    if count == 1:
        cluster.clock.at(began + 3.1, lambda: setattr(cluster.a, "serve", fine))
    assert cluster.call(6) == FINE
    second = cluster.b if count > 1 else cluster.a
    # With only one endpoint, the second try comes after a pause.
    assert second.times[-1 if count > 1 else 1] == pytest.approx(began + 6 / share + (0 if count > 1 else 0.1))


@pytest.mark.parametrize("seconds", [0.5, 1.0, 4.0, 8.0])
@pytest.mark.parametrize("how", ["fall_silent", "never_connect", "refuse"])
def test_call_without_an_answer_ends_in_time_and_names_each_endpoint(cluster, how, seconds):
    for server in cluster.a, cluster.b, cluster.c:
        getattr(server, how)()
    deadline = cluster.clock.now + seconds
    with pytest.raises(Unavailable) as failure:
        cluster.call(seconds)
    assert cluster.clock.now <= deadline
    assert all(name in str(failure.value) for name in (A, B, C))
    assert not cluster.network.open()


def test_trickling_answer_is_cut_off_by_the_deadline(cluster):
    cluster.configured(1)
    cluster.a.serve = always(*[(0.1 * n, byte) for n, byte in enumerate([b"HTTP/1.1 200 X\r\n"] + [b"x"] * 999)])
    deadline = cluster.clock.now + 4
    with pytest.raises(Unavailable):
        cluster.call(4)
    assert cluster.clock.now <= deadline


def test_an_answer_at_the_last_moment_counts(cluster):
    cluster.configured(1)
    cluster.a.serve = always((1.9, answer(200, FINE)))
    assert cluster.call(4) == FINE


# Connections and answers that are not used again


def test_late_answer_is_not_used_for_the_next_request(cluster):
    cluster.configured(1, "read_timeout = 1")
    stale = {"header": {"cluster_id": "1"}}
    cluster.a.serve = always((1.5, answer(200, stale)))
    cluster.clock.at(cluster.clock.now + 1.05, lambda: setattr(cluster.a, "serve", fine))
    assert cluster.call() == FINE
    assert len(cluster.network.tried) == 2


def test_connection_that_ended_while_idle_is_made_again_silently(cluster):
    client = cluster.client
    cluster.call()
    cluster.a.end_idle()
    assert cluster.call() == FINE and client.endpoint == A
    assert [name for name, _ in cluster.network.tried] == [A, A] and cluster.network.open() == [A]
    assert not [line for line in cluster.log.lines if line.startswith("error")]


def test_next_endpoint_is_used_if_the_idle_one_has_gone(cluster):
    client = cluster.client
    cluster.call()
    cluster.a.end_idle()
    cluster.a.refuse()
    assert cluster.call() == FINE and client.endpoint == B


def test_endpoint_that_closes_every_connection_is_not_asked_forever(cluster):
    cluster.configured(1)
    cluster.call()
    cluster.a.serve = always((0.0, b""))
    with pytest.raises(Unavailable, match="the connection was closed$"):
        cluster.call(2)
    assert len(cluster.a.requests) < 12


def test_a_stop_while_waiting_ends_the_call_and_the_connection(cluster):
    cluster.a.fall_silent()
    cluster.waiter.stop_at(cluster.clock.now + 1)
    with pytest.raises(Stopped):
        cluster.call()
    assert not cluster.network.open()
    # The request that then releases the lock gets a new connection.
    cluster.waiter.release()
    cluster.a.serve = fine
    assert cluster.call() == FINE and len(cluster.network.tried) == 2


def test_stopped_call_sends_no_request(cluster):
    cluster.waiter.stop = "SIGTERM"
    with pytest.raises(Stopped):
        cluster.call()
    assert not cluster.network.tried


# Errors from etcd


@pytest.mark.parametrize(
    "message, error",
    [
        ("etcdserver: requested lease not found", LeaseNotFound),
        ("etcdserver: lease already exists", LeaseExists),
        ("etcdserver: permission denied", PermissionDenied),
        ("etcdserver: user name is empty", Refused),
    ],
)
def test_error_that_every_endpoint_would_return_is_raised_at_once(cluster, message, error):
    cluster.a.serve = says(message)
    with pytest.raises(error) as failure:
        cluster.call()
    assert failure.type is error and len(cluster.network.tried) == 1


def test_missing_permission_error_shows_how_to_grant_it(cluster):
    cluster.configured(1, "username = u\npassword = p\n")
    login = always((0.0, answer(200, {**FINE, "token": "t"})))
    cluster.a.serve = lambda path, body: (login if "auth" in path else says("permission denied"))(path, body)
    with pytest.raises(Refused, match="user u needs readwrite permission on /a/b/, if .*: etcdctl role grant-perm"):
        cluster.call(body={"key": "L2EvYi9j"})


def test_call_that_no_endpoint_serves_is_refused_at_once(cluster):
    for server in cluster.a, cluster.b, cluster.c:
        server.serve = NOT_SERVED
    began = cluster.clock.now
    with pytest.raises(Refused, match="the v3 API is not served") as failure:
        cluster.call()
    assert cluster.clock.now == began and failure.type is Refused
    assert all(name in str(failure.value) for name in (A, B, C))


def test_call_waits_for_an_endpoint_that_may_serve_it_later(cluster):
    cluster.a.serve = cluster.b.serve = NOT_SERVED
    cluster.c.refuse()
    cluster.clock.at(cluster.clock.now + 2, lambda: setattr(cluster.c, "error", 0))
    assert cluster.call() == FINE


def test_another_cluster_is_refused_only_if_no_endpoint_is_ours(cluster):
    cluster.configured(3, "expected_cluster_id = 4d")  # 77 in hexadecimal
    stranger = always((0.0, answer(200, {"header": {"cluster_id": "78"}})))
    for server in cluster.a, cluster.b, cluster.c:
        server.serve = stranger
    with pytest.raises(OtherCluster, match="of cluster 4e, not 4d"):
        cluster.call()
    cluster.b.serve = fine
    assert cluster.call() == FINE
    # If another endpoint fails for another reason, the error is a plain Refused.
    cluster.b.serve = NOT_SERVED
    cluster.client._drop()
    with pytest.raises(Refused) as failure:
        cluster.call()
    assert not isinstance(failure.value, EndpointRefused)


def test_cluster_of_the_first_answer_is_kept(cluster):
    cluster.call()
    cluster.a.refuse()
    cluster.a.end_idle()
    for server in cluster.b, cluster.c:
        server.serve = always((0.0, answer(200, {"header": {"cluster_id": "78"}})))
    cluster.clock.at(cluster.clock.now + 2, lambda: setattr(cluster.a, "error", 0))
    assert cluster.call() == FINE and cluster.client.endpoint == A
    for server in cluster.a, cluster.b, cluster.c:
        server.serve = cluster.b.serve
    with pytest.raises(OtherCluster, match="of cluster 4e, not 4d: check host$"):
        cluster.call()


NO_IDS = [{"header": {"cluster_id": wrong}} for wrong in ("x", float("inf"), None, [])]


@pytest.mark.parametrize("more", ["", "expected_cluster_id = 4d"])
@pytest.mark.parametrize("body", [{}, {"header": {}}, {"result": {}}, *NO_IDS])
def test_answer_without_a_cluster_id_is_refused(cluster, body, more):
    cluster.configured(1, more)
    cluster.a.serve = always((0.0, answer(200, body)))
    with pytest.raises(Unavailable, match="names no cluster"):
        cluster.call(2)


def test_cluster_id_of_a_stream_is_read_from_its_result(cluster):
    cluster.configured(1, "expected_cluster_id = 4d")
    stream = {"result": {"header": {"cluster_id": "77"}, "TTL": "9"}}
    cluster.a.serve = always((0.0, answer(200, stream)))
    assert cluster.call() == stream
