# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of v2 API calls over a failing network: endpoints, time limits, repeated calls, and the meaning of answers."""

from __future__ import annotations

import pytest

etcd = pytest.importorskip("etcd", reason="python3-etcd is not installed")

from ctdb_etcd.client import tls  # noqa: E402
from ctdb_etcd.client.v2 import Unanswered  # noqa: E402
from ctdb_etcd.errors import OtherCluster, Refused, Stopped, Unavailable  # noqa: E402
from tests.support.fake_network import A, B, always, answer  # noqa: E402
from tests.support.rig_v2 import CLOSED, FINE, says  # noqa: E402
from tests.support.rig_v2 import rig as rig_fixture  # noqa: E402
from tests.unit.client.test_endpoints_secure import Tls  # noqa: E402

rig = rig_fixture


# Endpoints and time limits


def test_first_endpoint_is_used_over_one_connection(rig):
    for _ in range(3):
        assert rig.read() == "v"
    assert rig.asked() == [3, 0, 0] and len(rig.network.tried) == 1 and rig.client.endpoint == A
    assert rig.a.requests[0] == ("/v2/keys/k", {}) and rig.a.methods[0] == "GET"


def test_write_is_sent_as_a_form(rig):
    operation = lambda client: client.write("/a{b", "\u20ac &=", ttl=9, append=True)  # noqa: E731
    rig.client.call_once("append", operation, rig.clock.now + 8)
    assert rig.a.requests == [("/v2/keys/a%7Bb", {"value": "\u20ac &=", "ttl": "9"})] and rig.a.methods == ["POST"]


@pytest.mark.parametrize(
    "serve",
    [
        says(200, b"{"),
        says(200, {}),
        says(200, []),
        says(200, {"node": {"key": 1}}, "X-Etcd-Index: x\r\n"),
        says(404, b"404 page not found"),
        says(502, b"<html>"),
        says(500, {"errorCode": 301, "message": "Leader election", "cause": "x", "index": 1}),
        says(500, ["x"]),
        says(500, {"errorCode": []}),
        says(303, b""),
        says(307, b""),
        always((0.0, b"SSH-2.0-x\r\n")),
        always((0.0, b"")),
        always((0.0, CLOSED)),
        always((0.0, b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n")),
        always((0.0, b"HTTP/1.1 200 OK\r\n\r\n"), *[(0.0, b"x" * 65536)] * 300),
    ],
)
def test_next_endpoint_is_used_however_the_first_one_fails(rig, serve):
    rig.a.serve = serve
    for _ in range(2):
        assert rig.read() == "v"
    assert rig.asked() == [1, 2, 0] and rig.client.endpoint == B


def test_next_endpoint_is_used_if_the_first_refuses_connections(rig):
    rig.a.refuse()
    assert rig.read() == "v" and rig.asked() == [0, 1, 0]


@pytest.mark.parametrize("how", ["fall_silent", "never_connect"])
@pytest.mark.parametrize("count, seconds, waited", [(3, 60, 3.0), (2, 60, 3.0), (3, 3, 1.0)])
def test_silent_endpoint_is_waited_for_its_share_up_to_read_timeout(rig, how, count, seconds, waited):
    rig.v2(count)
    getattr(rig.a, how)()
    began = rig.clock.now
    assert rig.read(seconds) == "v" and rig.client.endpoint == B
    assert rig.clock.now == began + waited


def test_answer_without_an_end_is_cut_off_and_its_connection_closed(rig):
    rig.v2(1)
    rig.a.serve = always((0.0, b"HTTP/1.1 200 OK\r\n\r\n"), *[(0.1 * n, b"x" * 9999) for n in range(999)])
    began = rig.clock.now
    with pytest.raises(Unavailable, match="no answer in"):
        rig.read(4)
    assert rig.clock.now <= began + 4 and not rig.network.open()


def test_endpoint_that_speaks_grpc_only_is_skipped_after_the_first_round(rig):
    rig.v2(2)
    rig.a.serve = always((0.0, b"\0\0\6\4\0\0\0\0\0"))
    rig.b.serve = says(503, b"")
    began = rig.clock.now
    rig.clock.at(began + 0.25, lambda: setattr(rig.b, "serve", always((0.0, FINE))))
    assert rig.read() == "v"
    assert len(rig.a.requests) == 1 and rig.b.times == pytest.approx([began, began + 0.1, began + 0.3])


# Kept connections


def test_connection_that_ended_while_idle_is_made_again_silently(rig):
    rig.read()
    rig.a.end_idle()
    assert rig.read() == "v" and rig.client.endpoint == A
    assert [name for name, _ in rig.network.tried] == [A, A] and rig.network.open() == [A]
    assert not [line for line in rig.log.lines if line.startswith("error")]


def test_rest_waits_for_the_end_of_the_idle_connection_in_use(rig):
    assert rig.client.idle() == {}
    rig.a.serve = says(503, b"")
    rig.read()
    ((fd, event),) = rig.client.idle().items()
    idle = rig.network.sockets[fd]
    assert idle.name == B and not idle.ready(event)
    rig.b.end_idle()
    assert idle.ready(event)


def test_a_connection_that_is_not_kept_is_not_waited_for(rig):
    rig.a.serve = always((0.0, answer(200, {"node": {"key": "/k", "value": "v"}}, "Connection: close\r\n")))
    rig.read()
    assert rig.client.idle() == {}
    rig.read()


def test_no_connection_is_waited_for_after_a_failure(rig):
    rig.v2(1)
    rig.a.serve = always((0.0, CLOSED))
    with pytest.raises(Unavailable):
        rig.read(0.2)
    assert rig.client.idle() == {}


def test_endpoint_that_closes_every_connection_is_not_asked_forever(rig):
    rig.v2(1)
    rig.read()
    rig.a.serve = always((0.0, b""))
    with pytest.raises(Unavailable, match="set protocol = https"):
        rig.read(2)
    assert len(rig.a.requests) < 12


def test_late_answer_is_not_used_for_the_next_request(rig):
    rig.v2(1, "read_timeout = 1")
    rig.a.serve = always((1.5, answer(200, {"node": {"key": "/k", "value": "stale"}})))
    rig.clock.at(rig.clock.now + 1.05, lambda: setattr(rig.a, "serve", always((0.0, FINE))))
    assert rig.read() == "v"


# Calls that must not be repeated


def test_call_that_must_not_be_repeated_uses_a_new_connection(rig):
    rig.read()
    rig.a.end_idle()
    assert rig.append() == "v"
    assert len(rig.network.tried) == 2 and rig.a.methods == ["GET", "POST"]


def test_request_that_must_not_be_repeated_is_sent_once_if_one_is_kept(rig):
    rig.read()
    rig.a.serve = always((0.0, CLOSED))
    with pytest.raises(Unanswered, match="Connection reset by peer"):
        rig.append()
    assert rig.a.methods == ["GET", "POST"]


@pytest.mark.parametrize(
    "serve",
    [
        always((0.0, b"")),
        always((0.0, CLOSED)),
        says(500, b"x"),
        says(404, b"404 page not found"),
        always((0.0, b"HTTP/"), (0.0, b"")),
    ],
)
def test_a_call_that_may_have_had_its_effect_is_not_repeated(rig, serve):
    rig.a.serve = serve
    with pytest.raises(Unanswered):
        rig.append()
    assert rig.asked() == [1, 0, 0]
    # The next call goes to another endpoint.
    assert rig.append() == "v" and rig.asked() == [1, 1, 0]


def test_hanging_call_that_is_not_repeated_leaves_half_of_the_time(rig):
    rig.a.fall_silent()
    began = rig.clock.now
    with pytest.raises(Unanswered, match="no answer in 2.0 s"):
        rig.append(4)
    assert rig.clock.now == began + 2 and rig.asked() == [1, 0, 0]


@pytest.mark.parametrize("once", [True, False])
def test_a_stop_ends_a_call_that_hangs_and_its_connection(rig, once):
    rig.a.fall_silent()
    rig.waiter.stop_at(rig.clock.now + 0.5)
    with pytest.raises(Stopped):
        (rig.append if once else rig.read)()
    assert not rig.network.open()
    # The stopped call does not block the request that then releases the lock.
    rig.waiter.release()
    rig.a.serve = always((0.0, FINE))
    assert rig.read() == "v"


@pytest.mark.parametrize("once", [True, False])
def test_stopped_call_sends_no_request(rig, once):
    rig.waiter.stop = "SIGTERM"
    with pytest.raises(Stopped):
        (rig.append if once else rig.read)()
    assert not rig.network.tried


# Meaning of answers


@pytest.mark.parametrize(
    "status, code, error", [(404, 100, etcd.EtcdKeyNotFound), (412, 101, etcd.EtcdCompareFailed)]
)
def test_key_error_of_etcd_is_raised_and_the_connection_is_kept(rig, status, code, error):
    rig.a.serve = says(status, {"errorCode": code, "message": "x", "cause": "/k", "index": 1})
    for call in rig.append, rig.read:
        with pytest.raises(error):
            call()
    assert rig.asked() == [2, 0, 0] and len(rig.network.tried) == 1


MEANING = [
    (says(401, {"errorCode": 110, "message": "x"}), Refused, r"--path '/_locks/_ctdb/NAME\*' --readwrite"),
    (says(404, b"404 page not found"), Refused, "the v2 API is not served"),
    (says(502, b"<html>"), Unavailable, "etcd reports: Bad response : <html>"),
    (says(404, {"errorCode": 105, "message": "x", "cause": "/k"}), Unavailable, "etcd's answer makes no sense: x : /k"),
    (says(500, {"errorCode": 301, "message": "x"}), Unavailable, "etcd reports: x"),
    (says(500, {"errorCode": 300, "message": "at 404"}), Unavailable, "etcd reports: at 404"),
    (says(200, {"node": {}}, "X-Etcd-Cluster-Id: def\r\n"), OtherCluster, "def, not abc: .*expected_cluster_id"),
    (says(200, b"nonsense"), Unavailable, "etcd reports: Server response was not valid JSON"),
    (always((0.0, b"")), Unavailable, "set protocol = https"),
    (always((0.0, CLOSED)), Unavailable, "Connection reset by peer"),
    (always((0.0, b"SSH-2.0-x\r\n")), Unavailable, "does not speak HTTP"),
]


def test_cluster_of_the_first_answer_is_kept(rig):
    rig.v2(2)
    node = {"action": "get", "node": {"key": "/k", "value": "v"}}
    ours, theirs = (says(200, node, f"X-Etcd-Cluster-Id: {number}\r\n") for number in ("abc", "def"))
    rig.a.serve = ours
    rig.read()
    rig.a.serve = rig.b.serve = theirs
    with pytest.raises(OtherCluster, match="of cluster def, not abc: check host; "):
        rig.read()
    assert rig.asked() == [2, 1, 0]


@pytest.mark.parametrize("serve, kind, words", MEANING)
def test_each_bad_answer_raises_its_exception(rig, serve, kind, words):
    rig.v2(1, "expected_cluster_id = abc")
    rig.a.serve = serve
    with pytest.raises(kind, match=words) as failure:
        rig.read(1)
    assert failure.type is kind


def test_connection_that_https_closes_is_explained_by_tls(rig, monkeypatch):
    monkeypatch.setattr(tls, "Tls", Tls)
    rig.v2(1, "protocol = https")
    rig.a.serve = always((0.0, b""))
    with pytest.raises(Unavailable, match=f"{A}: 127.0.0.1: the connection was closed$"):
        rig.read(0.2)


def test_endpoint_that_https_cannot_connect_to_is_connected_to_once(rig, monkeypatch):
    monkeypatch.setattr(tls, "Tls", Tls)
    rig.v2(1, "protocol = https")
    rig.a.refuse()
    with pytest.raises(Unavailable, match=f"{A}: Connection refused$"):
        rig.read(0.05)
    assert len(rig.network.tried) == 1


def test_answer_that_crashes_python_etcd_makes_no_sense(rig):
    rig.v2(1)
    rig.a.serve = says(200, {"node": {"key": "/d", "dir": True, "nodes": [5]}})
    with pytest.raises(Unavailable, match="makes no sense: TypeError"):
        rig.client.call("read", lambda client: list(client.read("/d").leaves), rig.clock.now + 1)


def test_call_is_refused_only_if_no_endpoint_serves_it(rig):
    for server in rig.servers:
        server.serve = says(404, b"404 page not found")
    with pytest.raises(Refused):
        rig.read()
    assert rig.asked() == [1, 1, 1]
    rig.b.serve = always((0.0, FINE))
    assert rig.read() == "v"
