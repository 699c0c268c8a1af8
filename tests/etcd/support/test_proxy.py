# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the proxy: each fault that it claims to make is seen by http.client in front of a real etcd."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from typing import Any, Iterator, Optional

import pytest

from tests.support.etcd import Etcd
from tests.support.machine import wait_until
from tests.support.proxy import Proxy

RANGE = json.dumps({"key": "Lw==", "range_end": "MA=="})


def ask(
    endpoint: str,
    path: str = "/v3/kv/range",
    timeout: float = 5,
    connection: Optional[http.client.HTTPConnection] = None,
) -> tuple[int, Any]:
    """Return the status and JSON body of one request, on a new connection unless one is given."""
    used = connection or http.client.HTTPConnection(endpoint, timeout=timeout)
    try:
        used.request("GET" if path == "/health" else "POST", path, None if path == "/health" else RANGE)
        answer = used.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        if connection is None:
            used.close()


class Asked(threading.Thread):
    """Runs `ask` in the background; `result` is the answer or the exception."""

    def __init__(self, endpoint: str, path: str = "/v3/kv/range") -> None:
        super().__init__(daemon=True)
        self.ask, self.result, self.moment = (endpoint, path), None, 0.0  # type: tuple[str, str], Any, float
        self.start()

    def run(self) -> None:
        try:
            self.result = ask(*self.ask)
        except (OSError, http.client.HTTPException) as error:
            self.result = error
        self.moment = time.monotonic()


@pytest.fixture
def proxy(etcd: Etcd) -> Iterator[Proxy]:
    with Proxy(etcd.endpoints[0]) as proxy:
        yield proxy


def test_a_forwarding_proxy_changes_nothing_and_counts(proxy: Proxy, etcd: Etcd) -> None:
    connection = http.client.HTTPConnection(proxy.endpoint, timeout=5)
    status, answer = ask("", "/health", connection=connection)
    assert (status, answer["health"]) == (200, "true")
    for _ in range(3):
        assert ask("", connection=connection)[0] == 200
    connection.close()
    seen = proxy.seen()
    assert (seen.connections, seen.count(), seen.count("POST /v3/kv/range")) == (1, 4, 3)
    assert seen.bytes_to_etcd > 300 and seen.bytes_to_client > 300
    assert seen.requests[0][0] <= seen.requests[-1][0] <= time.monotonic()


def test_grpc_passes_the_proxy_unchanged(proxy: Proxy, etcd: Etcd, lock_name: str) -> None:
    etcd.put(f"/x/{lock_name}", "y")
    assert etcd.etcdctl("get", "--print-value-only", f"/x/{lock_name}", endpoint=proxy.endpoint) == "y\n"
    assert proxy.seen().count() == 0 and proxy.seen().bytes_to_client > 0


def test_frozen_proxy_holds_requests_until_it_is_thawed(proxy: Proxy) -> None:
    connection = http.client.HTTPConnection(proxy.endpoint, timeout=5)
    ask("", connection=connection)
    proxy.freeze()
    before = proxy.seen().bytes_to_etcd
    asked = Asked(proxy.endpoint)
    connection.request("POST", "/v3/kv/range", RANGE)
    wait_until(lambda: proxy.seen().count() == 3, "both requests")
    with pytest.raises(socket.timeout):
        connection.sock.settimeout(0.2)
        connection.getresponse()
    assert proxy.seen().bytes_to_etcd == before
    assert asked.is_alive()
    proxy.forward()
    asked.join(5)
    assert asked.result[0] == 200
    connection.close()


def test_answer_held_by_a_frozen_proxy_can_be_dropped(proxy: Proxy) -> None:
    proxy.freeze()
    asked = Asked(proxy.endpoint)
    wait_until(lambda: proxy.seen().count() == 1, "the request")
    proxy.forward(drop_held=True)
    assert ask(proxy.endpoint)[0] == 200
    assert asked.is_alive() and asked.result is None
    proxy.reset()
    asked.join(5)
    assert isinstance(asked.result, ConnectionError)


def test_requests_with_frozen_answers_are_carried_out_by_etcd(proxy: Proxy, etcd: Etcd) -> None:
    proxy.freeze_answers()
    revision = etcd.revision()
    connection = http.client.HTTPConnection(proxy.endpoint, timeout=5)
    connection.request("POST", "/v3/kv/put", json.dumps({"key": "L3g=", "value": "eA=="}))
    wait_until(lambda: etcd.revision() == revision + 1, "the write")
    assert proxy.seen().bytes_to_client == 0
    proxy.forward()
    assert connection.getresponse().status == 200
    connection.close()


def test_refusing_proxy_resets_old_connections_and_accepts_no_new_ones(proxy: Proxy) -> None:
    connection = http.client.HTTPConnection(proxy.endpoint, timeout=5)
    ask("", connection=connection)
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        connection.sock.recv(1)
    with pytest.raises(ConnectionRefusedError):
        ask(proxy.endpoint)
    proxy.forward()
    assert ask(proxy.endpoint)[0] == 200
    connection.close()


def test_a_reset_ends_old_connections_but_not_new_ones(proxy: Proxy) -> None:
    connection = http.client.HTTPConnection(proxy.endpoint, timeout=5)
    ask("", connection=connection)
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        connection.sock.recv(1)
    assert ask(proxy.endpoint)[0] == 200
    connection.close()


def test_a_delay_is_added_to_each_answer(proxy: Proxy) -> None:
    proxy.delay(0.3)
    start = time.monotonic()
    assert ask(proxy.endpoint)[0] == 200
    assert 0.3 <= time.monotonic() - start < 10


@pytest.mark.parametrize("at, error", [(None, http.client.IncompleteRead), (0, http.client.RemoteDisconnected)])
def test_truncated_answer_is_an_error(proxy: Proxy, at: Optional[int], error: type[Exception]) -> None:
    proxy.truncate_answers(at)
    with pytest.raises(error):
        ask(proxy.endpoint)
    assert proxy.seen().bytes_to_etcd > 0


def test_a_cut_request_has_no_effect_and_no_answer(proxy: Proxy, etcd: Etcd) -> None:
    revision = etcd.revision()
    proxy.cut_requests()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ask(proxy.endpoint, "/v3/kv/put")
    assert proxy.seen().bytes_to_etcd > 0
    assert etcd.revision() == revision


def test_one_request_is_held_while_others_pass_and_arrives_late(
    proxy: Proxy, etcd: Etcd
) -> None:
    lease = etcd.grant(60)
    wait_until(lambda: etcd.lease_left(lease) < 59, "a second of the lease")
    proxy.hold_next_request(b"/v3/lease/keepalive")
    connection = http.client.HTTPConnection(proxy.endpoint, timeout=5)
    connection.request("POST", "/v3/lease/keepalive", json.dumps({"ID": str(lease)}))
    proxy.wait_held()
    connection.close()
    assert ask(proxy.endpoint)[0] == 200
    assert etcd.lease_left(lease) < 59
    proxy.release()
    wait_until(lambda: etcd.lease_left(lease) >= 59, "the late renewal")
    etcd.revoke(lease)


def test_the_proxy_can_answer_in_place_of_etcd(proxy: Proxy) -> None:
    proxy.answer_with(503, b'{"error": "etcdserver: no leader"}', matching=b"/v3/kv/range")
    connection = http.client.HTTPConnection(proxy.endpoint, timeout=5)
    for _ in range(2):
        assert ask("", connection=connection) == (503, {"error": "etcdserver: no leader"})
    assert ask("", "/health", connection=connection)[0] == 200
    proxy.forward()
    assert ask("", connection=connection)[0] == 200
    connection.close()


def test_a_proxy_in_front_of_a_dead_etcd_resets(proxy: Proxy, etcd: Etcd) -> None:
    etcd.members[0].kill()
    with pytest.raises(ConnectionError):
        ask(proxy.endpoint)
