# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of a holder's watch: it ends a rest between refreshes early, and a failed watch costs nothing."""

from __future__ import annotations

import json
import select

import pytest

from ctdb_etcd.errors import Stopped
from tests.support.fake_network import A, B, FINE, Cluster, always, answer, fine, says

BODY = {"key": "a2V5", "start_revision": 8}


def chunk(answer):
    data = json.dumps(answer).encode() + b"\n"
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def stream(*events):
    """Return the answer to a watch: each event comes after its number of seconds, and the answer has no end."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    begun = (0.0, head + chunk({"result": {"created": True}}))
    return [begun, *[(seconds, chunk(event)) for seconds, event in events]]


def watched(*events):
    """Return a server that answers a watch with these events and all other requests normally."""
    return lambda path, body: stream(*events) if path == "/v3/watch" else fine(path, body)


@pytest.fixture
def cluster(monkeypatch):
    cluster = Cluster(monkeypatch)
    cluster.a.serve = cluster.b.serve = watched()
    return cluster


def changes(cluster, seconds=0.5):
    return cluster.client.changes(BODY, cluster.clock.now + seconds)


def sockets(cluster, events):
    assert set(events.values()) <= {select.POLLIN}
    return [cluster.network.sockets[fd] for fd in events]


def test_client_watches_nothing_before_its_first_call(cluster):
    assert changes(cluster) == {} and not cluster.network.tried


def test_watch_event_or_end_of_the_idle_connection_ends_a_rest(cluster):
    cluster.call()
    watch, idle = sockets(cluster, changes(cluster))
    assert (watch.name, idle.name) == (A, A) and watch is not idle
    assert cluster.a.requests[-1] == ("/v3/watch", {"create_request": BODY})
    assert not watch.ready(select.POLLIN) and not idle.ready(select.POLLIN)
    cluster.a.end_idle()
    assert watch.ready(select.POLLIN) and idle.ready(select.POLLIN)


def test_a_watch_is_begun_once(cluster):
    cluster.call()
    first = changes(cluster)
    cluster.call()
    assert changes(cluster) == first and cluster.a.paths.count("/v3/watch") == 1


def test_watch_event_ends_one_rest_and_the_next_begins_a_new_watch(cluster):
    cluster.a.serve = watched((1.0, {"result": {"events": [{"type": "DELETE"}]}}))
    cluster.call()
    watch, _ = sockets(cluster, changes(cluster))
    cluster.clock.pass_(1)
    assert watch.ready(select.POLLIN)
    cluster.call()
    again, idle = sockets(cluster, changes(cluster))
    assert watch.closed and again is not watch and not idle.closed


def test_event_in_one_piece_with_the_beginning_ends_the_rest_at_once(cluster):
    event = chunk({"result": {"events": [{"type": "DELETE"}]}})
    ((_, begun),) = stream()
    cluster.a.serve = lambda path, body: [(0.0, begun + event)] if path == "/v3/watch" else fine(path, body)
    cluster.call()
    events = changes(cluster)
    (watch,) = (fd for fd, event in events.items() if event & select.POLLOUT)
    sock = cluster.network.sockets[watch]
    assert not sock.ready(select.POLLIN) and sock.ready(select.POLLOUT)
    cluster.a.serve = watched()
    cluster.call()
    assert len(sockets(cluster, changes(cluster))) == 2 and cluster.a.paths.count("/v3/watch") == 2


def test_watch_moves_to_the_endpoint_in_use(cluster):
    cluster.call()
    watch, _ = sockets(cluster, changes(cluster))
    cluster.a.refuse()
    cluster.client._connection.close()
    cluster.call()
    again, idle = sockets(cluster, changes(cluster))
    assert (again.name, idle.name) == (B, B) and watch.closed
    assert cluster.network.open() == [B, B]


FAILS = [
    always(),
    always((0.0, b"")),
    always((0.0, b"SSH-2.0-x\r\n")),
    always((0.0, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")),
    always((0.0, answer(404, b"404 page not found"))),
    always((0.0, answer(200, {"result": {}}))),
    always((0.0, answer(200, {"result": []}))),
    always((0.0, answer(200, {"result": {"canceled": True}}))),
    says("etcdserver: permission denied"),
    says("etcdserver: invalid auth token"),
]


@pytest.mark.parametrize("serve", FAILS)
def test_failed_watch_is_left_out_in_time_and_begun_again_next_rest(cluster, serve):
    cluster.a.serve = lambda path, body: (serve if path == "/v3/watch" else fine)(path, body)
    cluster.call()
    until = cluster.clock.now + 0.5
    (idle,) = sockets(cluster, changes(cluster))
    assert cluster.clock.now <= until and cluster.network.open() == [A]
    assert cluster.log.lines[-1].startswith(f"debug: watch: none at {A}: ")
    # The next rest begins a new watch.
    cluster.a.serve = watched()
    cluster.call()
    assert idle in sockets(cluster, changes(cluster)) and len(changes(cluster)) == 2


def test_stop_while_a_watch_begins_ends_the_watch(cluster):
    cluster.call()
    cluster.a.fall_silent()
    cluster.waiter.stop_at(cluster.clock.now + 0.25)
    with pytest.raises(Stopped):
        changes(cluster)
    assert cluster.network.open() == [A]


def test_a_connection_that_is_not_kept_is_not_watched(cluster):
    closing = always((0.0, answer(200, FINE, "Connection: close\r\n")))
    cluster.a.serve = lambda path, body: (watched() if path == "/v3/watch" else closing)(path, body)
    cluster.call()
    assert len(changes(cluster)) == 1


def test_a_watch_carries_the_token(cluster):
    cluster.configured(1, "username = u\npassword = p\n")
    token = always((0.0, answer(200, {**FINE, "token": "t1"})))
    cluster.a.serve = lambda path, body: (token if path.endswith("authenticate") else watched())(path, body)
    cluster.call()
    changes(cluster)
    assert cluster.a.paths[-1] == "/v3/watch" and cluster.a.fields[-1]["Authorization"] == "t1"
    assert cluster.log.lines[-1] == f"debug: POST /v3/watch at {A}"


def test_a_watch_logs_in_if_no_token_is_left(cluster):
    cluster.configured(1, "username = u\npassword = p\n")
    token = always((0.0, answer(200, {**FINE, "token": "t1"})))
    cluster.a.serve = lambda path, body: (token if path.endswith("authenticate") else watched())(path, body)
    cluster.call()
    cluster.client._login.forget()
    watch, _ = sockets(cluster, changes(cluster))
    assert cluster.a.requests[-2] == ("/v3/auth/authenticate", {"name": "u", "password": "p"})
    assert cluster.a.paths[-1] == "/v3/watch" and cluster.a.fields[-1]["Authorization"] == "t1"
    assert cluster.a.connections[-1] is watch and len(cluster.network.tried) == 2


def test_a_watch_that_must_log_in_first_begins_in_time(cluster):
    cluster.configured(1, "username = u\npassword = p\n")
    token = always((0.0, answer(200, {**FINE, "token": "t1"})))
    cluster.a.serve = lambda path, body: (token if path.endswith("authenticate") else watched())(path, body)
    cluster.call()
    cluster.client._login.forget()
    cluster.a.fall_silent()
    until = cluster.clock.now + 0.5
    (idle,) = sockets(cluster, changes(cluster))
    assert cluster.clock.now == until and cluster.network.open() == [A]
