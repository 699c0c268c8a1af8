# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of faults specific to the v3 API: at each request that takes the lock, and with answers that refuse."""

from __future__ import annotations

import json
import socket
import time

import pytest

from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.machine import wait_until
from tests.support.proxy import Proxy

pytestmark = pytest.mark.slow

TTL = 9


@pytest.fixture
def proxy(etcd):
    with Proxy(etcd.endpoints[0]) as proxy:
        yield proxy


def keys(etcd, lock_name):
    return etcd.keys(f"/_locks/_ctdb/{lock_name}/")


def test_sigterm_while_acquiring_behind_a_frozen_network_leaves_nothing(etcd, proxy, helper_conf, lock_name):
    for path in b"kv/range", b"lease/grant", b"kv/txn":
        proxy.hold_next_request(path)
        with Helper(helper_conf(host=proxy.endpoint, read_timeout=20)) as helper:
            proxy.wait_held()
            helper.terminate()
            asked = time.monotonic()
            assert helper.wait_exit() - asked < 5
            assert helper.stdout == b""
        proxy.release()
        time.sleep(0.3)
        # The held request arrives after the helper's end. Without its lease it has no effect, and the lease expires.
        assert not keys(etcd, lock_name)


def test_ctdbd_sees_the_end_before_the_lock_is_released(etcd, proxy, helper_conf, lock_name):
    with Helper(helper_conf(host=proxy.endpoint)) as helper:
        assert helper.status() == "0"
        proxy.hold_next_request(b"lease/revoke")
        helper.terminate()
        proxy.wait_held()
        helper.wait_eof()
        assert keys(etcd, lock_name) and helper.alive
        proxy.release()
        helper.wait_exit()
        assert not keys(etcd, lock_name)


@pytest.mark.parametrize(
    "how, path",
    [
        ("freeze", b"kv/range"),
        ("refuse", b"lease/grant"),
        ("freeze_answers", b"lease/grant"),
        ("freeze", b"kv/txn"),
        ("freeze_answers", b"kv/txn"),
    ],
)
def test_etcd_outage_of_3_s_while_acquiring_still_gives_the_lock(etcd, proxy, helper_conf, lock_name, how, path):
    proxy.hold_next_request(path)
    with Helper(helper_conf(host=proxy.endpoint)) as helper:
        proxy.wait_held()
        getattr(proxy, how)()
        proxy.release()
        time.sleep(3)
        proxy.forward()
        assert helper.status() == "0"
        assert len(keys(etcd, lock_name)) == 1
        time.sleep(TTL)
        assert helper.alive and len(keys(etcd, lock_name)) == 1


def test_a_late_answer_gives_no_lock(etcd, proxy, helper_conf, lock_name):
    """The answer to the transaction comes when the lease has ended and another helper has the lock."""
    proxy.hold_next_request(b"kv/txn")
    with Helper(helper_conf(host=proxy.endpoint, read_timeout=60, acquire_timeout=60)) as helper:
        proxy.wait_held()
        proxy.freeze_answers()
        proxy.release()
        wait_until(lambda: keys(etcd, lock_name), "the transaction to reach etcd")
        (key,) = keys(etcd, lock_name)
        etcd.revoke(key["lease"])
        with Helper(helper_conf()) as other:
            assert other.status() == "0"
            time.sleep(TTL)
            proxy.forward()
            assert helper.status() == "1", helper.describe()
            assert other.alive


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"etcdserver: no leader","message":"etcdserver: no leader","code":14}',
        b'{"code":14,"message":"etcdserver: no leader","details":[]}',
        b'{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}}',
        b'{"error":{"code":14,"message":"etcdserver: no leader"}}',
    ],
    ids=["3.5", "3.6", "stream 3.4", "stream 3.6"],
)
def test_temporary_error_of_any_etcd_release_is_waited_out(etcd, proxy, helper_conf, body):
    proxy.answer_with(503, body)
    with Helper(helper_conf(host=proxy.endpoint)) as helper:
        wait_until(lambda: helper.stderr, "a line after the first round")
        assert "etcd reports: etcdserver: no leader" in helper.stderr
        proxy.forward()
        assert helper.status() == "0"


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"etcdserver: permission denied","message":"etcdserver: permission denied","code":7}',
        b'{"code":7,"message":"etcdserver: permission denied","details":[]}',
    ],
    ids=["3.5", "3.6"],
)
def test_refusal_of_any_etcd_release_gives_3_at_once(proxy, helper_conf, body):
    proxy.answer_with(403, body)
    with Helper(helper_conf(host=proxy.endpoint)) as helper:
        assert helper.status() == "3"
        assert helper.answered_after < 10
        helper.wait_exit()
        assert len(helper.stderr.splitlines()) == 1 and "permission denied" in helper.stderr


def test_etcd_without_the_gateway_gives_3_and_advice(helper_conf):
    with Etcd(1, ["--enable-grpc-gateway=false"]) as etcd, Helper(helper_conf(host=etcd.endpoints[0])) as helper:
        assert helper.status() == "3"
        assert helper.answered_after < 10
        helper.wait_exit()
        (line,) = helper.stderr.splitlines()
        assert "enable-grpc-gateway" in line


def test_answer_before_the_server_closes_is_read_in_full(helper_conf):
    body = b'{"header": {"cluster_id": "1"}, "kvs": [{"key": "eA==", "value": "eA==", "create_revision": "1"}]}'
    with socket.create_server(("127.0.0.1", 0)) as server:
        with Helper(helper_conf(host=f"127.0.0.1:{server.getsockname()[1]}"), "-v") as helper:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
                # A client that closes its end early would miss what comes now.
                time.sleep(0.5)
                connection.sendall(body)
            assert helper.status() == "1", helper.describe()


def test_renewal_by_a_deposed_etcd_leader_does_not_count(etcd, proxy, helper_conf, lock_name):
    with Helper(helper_conf(host=proxy.endpoint), "-v") as helper:
        assert helper.status() == "0"
        header = etcd.members[0].request("POST", "/v3/maintenance/status")["header"]
        stale = {"result": {"header": {**header, "raft_term": "1"}, "ID": "1", "TTL": str(TTL)}}
        proxy.answer_with(200, json.dumps(stale).encode(), matching=b"lease/keepalive")
        proxy.hold_next_request(b"lease/revoke", every=True)
        gone = etcd.wait_gone(f"/_locks/_ctdb/{lock_name}/", TTL + 5)
        assert helper.eof is not None and helper.eof < gone, helper.describe()
        assert "renewed by a deposed leader" in helper.stderr


def test_etcd_leader_that_was_paused_does_not_renew_our_lease(etcd3, helper_conf, lock_name):
    # The paused leader answers as a leader only if it reads the request before it notices the election, hence 3 tries.
    for _ in range(3):
        leader = etcd3.leader()
        others = [member for member in etcd3.members if member is not leader]
        conf = helper_conf(host=leader.endpoint, api="3", refresh=4, read_timeout=2)
        with Helper(conf) as helper:
            assert helper.status() == "0"
            leader.pause()
            paused = time.monotonic()
            wait_until(lambda: any(member.is_leader() for member in others), "another leader")
            # The helper sends its renewal 4 s after the lease was granted.
            time.sleep(max(0.0, paused + 5.2 - time.monotonic()))
            leader.resume()
            time.sleep(0.3)
            leader.kill()
            gone = etcd3.wait_gone(f"/_locks/_ctdb/{lock_name}/", 2 * TTL + 5)
            assert helper.eof is not None and helper.eof < gone, helper.describe()
        etcd3.heal()
