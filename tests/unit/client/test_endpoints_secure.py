# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of connections to endpoints with and without TLS, how errors are explained, and what Endpoints remembers."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from ctdb_etcd.client import endpoints as subject, srv, tls
from ctdb_etcd.client.endpoints import Endpoints, endpoint_name
from ctdb_etcd.client.http1 import HttpError, NotSent, Stream
from ctdb_etcd.errors import EndpointRefused, GrpcOnly, OtherCluster, Refused, Stopped
from tests.support.conf import parse
from tests.support.fake_network import FINE, A, B, Cluster, answer

CLOSED = ConnectionResetError("the connection was closed")


class Tls:
    """A fake TLS layer. `only` is whether the server speaks gRPC only, or the exception that the probe raises."""

    def __init__(self, config=None, log=None):
        self.made_of = config, log
        self.only = False
        self.secured, self.asked = [], []

    def stream(self, sock, waiter, host, until):
        self.secured.append((sock, waiter, host, until))
        return Stream(sock, waiter)

    def grpc_only(self, connect, waiter, host, until):
        self.asked.append((connect().name, waiter, host, until))
        if isinstance(self.only, Exception):
            raise self.only
        return self.only

    def explain(self, error, host):
        return OSError(f"{host}: {error}")


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setattr(tls, "Tls", Tls)
    return Cluster(monkeypatch)


def made(cluster, text=""):
    return Endpoints(parse(f"host = {A}, {B}\n{text}"), cluster.waiter, cluster.log)


def secured(cluster):
    endpoints = made(cluster, "protocol = https\n")
    return endpoints, endpoints._tls


def test_https_is_set_up_with_the_file_and_the_log(cluster):
    config = parse("protocol = https")
    endpoints = Endpoints(config, cluster.waiter, cluster.log)
    assert endpoints._tls.made_of == (config, cluster.log)
    first = endpoints._tls
    config.edition += 1
    endpoints.find(0)
    assert endpoints._tls is first
    config.protocol = "http"
    config.edition += 1
    endpoints.find(0)
    assert endpoints._tls is None


def test_connection_is_secured_for_the_host_of_its_endpoint(cluster):
    endpoints, tls = secured(cluster)
    until = cluster.clock.now + 1
    with endpoints.dial(B, until) as connection:
        ((sock, waiter, host, deadline),) = tls.secured
        assert (sock.name, waiter, host, deadline) == (B, cluster.waiter, "127.0.0.2", until)
        assert connection.endpoint == B
        assert connection.ask("GET", "/x", None, {}, until)[0] == 200
    assert not cluster.network.open()


def test_get_returns_status_and_body_and_is_logged(cluster):
    cluster.b.serve = lambda path, body: [(0.5, answer(403, FINE))]
    status, body = made(cluster).get(B, "/x", cluster.clock.now + 1)
    assert (status, body) == (403, b'{"header": {"cluster_id": "77"}}') and cluster.b.methods == ["GET"]
    assert cluster.log.lines[1:2] == [f"debug: GET /x: 403 from {B} in 0.5000 s"]


# Errors


def test_other_error_without_tls_stays_as_it_is(cluster):
    assert all(made(cluster).explain(error, A, 0) is error for error in (HttpError("x"), NotSent("x")))


@pytest.mark.parametrize("args", [(104, "reset"), ("reset",)])
def test_connection_closed_or_reset_without_an_answer_may_need_https(cluster, args):
    explained = made(cluster).explain(ConnectionResetError(*args), A, 0)
    assert str(explained) == "reset: if it speaks https, set protocol = https"


@pytest.mark.parametrize("only", [True, False])
def test_server_that_closes_a_tls_connection_may_speak_grpc_only(cluster, only):
    endpoints, tls = secured(cluster)
    tls.only = only
    until = cluster.clock.now + 1
    explained = endpoints.explain(CLOSED, B, until)
    assert tls.asked == [(B, cluster.waiter, "127.0.0.2", until)]
    if only:
        assert isinstance(explained, GrpcOnly)
    else:
        assert str(explained) == "127.0.0.2: the connection was closed"


@pytest.mark.parametrize("failure", [OSError("x"), TimeoutError("x"), Refused("x"), EndpointRefused("x")])
def test_first_error_is_explained_if_the_probe_fails(cluster, failure):
    endpoints, tls = secured(cluster)
    tls.only = failure
    assert str(endpoints.explain(CLOSED, A, cluster.clock.now + 1)) == "127.0.0.1: the connection was closed"


def test_stop_ends_the_probe(cluster):
    endpoints, tls = secured(cluster)
    tls.only = Stopped("SIGTERM")
    with pytest.raises(Stopped):
        endpoints.explain(CLOSED, A, cluster.clock.now + 1)


def test_error_that_is_no_end_of_a_connection_is_not_probed(cluster):
    endpoints, tls = secured(cluster)
    assert str(endpoints.explain(OSError("x"), A, 0)) == "127.0.0.1: x" and not tls.asked


@pytest.mark.parametrize("protocol, says", [("http", "broken"), ("https", "127.0.0.1: broken")])
def test_error_of_a_separate_connection_is_explained(cluster, protocol, says):
    endpoints = made(cluster, f"protocol = {protocol}\n")
    with pytest.raises(OSError, match=f"^{says}$"), endpoints.dial(A, cluster.clock.now + 1):
        raise OSError("broken")
    assert not cluster.network.open()


def test_refused_connection_with_tls_is_reported_as_it_is(cluster):
    endpoints, tls = secured(cluster)
    cluster.a.refuse()
    with pytest.raises(ConnectionRefusedError), endpoints.dial(A, cluster.clock.now + 1):
        pytest.fail("connected")
    assert not tls.asked


# State of the endpoints


def test_numeric_address_is_known_once_connected(cluster):
    endpoints = made(cluster)
    assert endpoints.address(B) == ""
    endpoints.connect([B], cluster.clock.now + 1)
    assert (endpoints.address(A), endpoints.address(B)) == ("", "127.0.0.2")


def test_endpoint_added_by_hand_keeps_its_host_and_is_not_one_of_the_names(cluster):
    endpoints = made(cluster)
    assert endpoints.register("::1", 7) == "[::1]:7" and endpoints.host("[::1]:7") == ("::1", 7)
    assert endpoints.names() == [A, B]
    endpoints._hosts[A] = ("known", 1)
    assert endpoints.register("127.0.0.1", 1) == A and endpoints.host(A) == ("known", 1)


@pytest.mark.parametrize("host, written", [("h", "h"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_host_is_written_as_in_urls(host, written):
    assert endpoint_name(host, 1) == f"{written}:1"


@pytest.mark.parametrize(
    "text, source",
    [
        ("host = a", "host"),
        ("host = a\nexpected_cluster_id = 4d", "host and expected_cluster_id"),
        ("srv_domain = d", "the SRV records of d"),
        ("srv_domain = d\nexpected_cluster_id = 4d", "the SRV records of d and expected_cluster_id"),
    ],
)
def test_source_of_the_endpoints_is_named(cluster, text, source):
    assert Endpoints(parse(text), cluster.waiter, cluster.log).source == source


def test_cluster_of_the_first_answer_is_kept(cluster):
    endpoints = made(cluster)
    assert endpoints.cluster is None
    endpoints.stay_with(0x4D)
    endpoints.stay_with(0x4D)
    with pytest.raises(OtherCluster, match="^it is of cluster 4e, not 4d: check host$"):
        endpoints.stay_with(0x4E)


def test_cluster_of_the_file_is_hexadecimal_and_comes_first(cluster):
    endpoints = made(cluster, "expected_cluster_id = 10\n")
    endpoints.stay_with(16)
    with pytest.raises(OtherCluster, match="not 10: check host and expected_cluster_id"):
        endpoints.stay_with(10)


def test_endpoint_of_any_cluster_may_be_asked_apart(cluster):
    endpoints = made(cluster, "expected_cluster_id = 10\n")
    apart = endpoints.apart(B)
    apart.stay_with(7)
    assert apart.names() == [B] and endpoints.cluster == 16
    endpoints.register("h", 1)
    assert apart.host("h:1") == ("h", 1)


def test_change_of_the_endpoint_in_use_is_counted_and_logged(cluster):
    endpoints = made(cluster)
    for endpoint in A, B, B:
        endpoints.prefer(endpoint)
    assert endpoints.connections == 3 and endpoints.names() == [B, A]
    assert cluster.log.lines == [f"info: using endpoint {B}"]


def test_numeric_address_is_tried_once(cluster):
    cluster.a.refuse()
    with pytest.raises(OSError):
        made(cluster).connect([A], cluster.clock.now + 1)
    assert len(cluster.network.tried) == 1


def test_name_is_resolved_for_tcp_only(monkeypatch, cluster):
    asked = []

    def resolve(host, port, **how):
        asked.append((host, port, how))
        if how.get("flags"):
            raise socket.gaierror(-2, "no number")
        return [(socket.AF_INET, 0, 0, "", ("127.0.0.2", 2))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    endpoints = Endpoints(parse("host = m:9"), cluster.waiter, cluster.log)
    assert endpoints.connect(["m:9"], cluster.clock.now + 1)[0] == "m:9" and endpoints.address("m:9")
    stream = {"type": socket.SOCK_STREAM}
    assert asked == [(b"m", 9, {**stream, "flags": socket.AI_NUMERICHOST}), (b"m", 9, stream)]


# SRV records of a domain


def test_domain_is_looked_up_for_the_protocol_and_its_members_are_logged(monkeypatch, cluster):
    asked = []
    monkeypatch.setattr(srv, "look_up", lambda *what: asked.append(what) or [("a", 1), ("::1", 2)])
    endpoints = Endpoints(parse("srv_domain = d\nprotocol = https"), cluster.waiter, cluster.log)
    for _ in range(2):
        endpoints.find(cluster.clock.now + 1)
    assert asked == [("d", "https")]
    assert cluster.log.lines == ["info: DNS names these endpoints for d: a:1, [::1]:2"]


def test_hosts_of_the_file_need_no_domain_even_if_all_fail(monkeypatch, cluster):
    monkeypatch.setattr(subject, "Task", None)
    endpoints = made(cluster)
    for one in endpoints, endpoints.apart(A):
        one.find(cluster.clock.now + 1)
        one.failed()
        one.find(cluster.clock.now + 1)
    assert endpoints.names() == [A, B] and not cluster.log.lines


@pytest.mark.parametrize("left, waited", [(9, 0.25), (0.125, 0.125)])
def test_older_members_wait_for_new_ones_a_quarter_of_a_second(monkeypatch, cluster, left, waited):
    monkeypatch.setattr(subject, "Task", lambda look_up: SimpleNamespace(done=cluster.network._make(2, 1).fileno()))
    endpoints = Endpoints(parse("srv_domain = d"), cluster.waiter, cluster.log)
    endpoints._adopt([("h", 1)])
    began = cluster.clock.now
    endpoints.find(began + left)
    assert cluster.clock.now == began + waited and endpoints.names() == ["h:1"]
    # The search continues.
    search = endpoints._search
    endpoints.find(cluster.clock.now + 1)
    assert endpoints._search is search


def test_members_never_found_are_waited_for_until_the_deadline(monkeypatch, cluster):
    monkeypatch.setattr(subject, "Task", lambda look_up: SimpleNamespace(done=cluster.network._make(2, 1).fileno()))
    endpoints = Endpoints(parse("srv_domain = d"), cluster.waiter, cluster.log)
    began = cluster.clock.now
    with pytest.raises(TimeoutError, match="^the name servers give no answer$"):
        endpoints.find(began + 3)
    assert cluster.clock.now == began + 3


def test_error_of_the_first_search_is_raised_as_it_is(monkeypatch, cluster):
    error = OSError("there are no SRV records")

    def look_up(*_):
        raise error

    monkeypatch.setattr(srv, "look_up", look_up)
    with pytest.raises(OSError) as failure:
        Endpoints(parse("srv_domain = d"), cluster.waiter, cluster.log).find(cluster.clock.now + 1)
    assert failure.value is error
