# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""etcd and the way to it fail: what is held stays held while it can, and is over before anybody else has it."""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest

from harness.etcd import Etcd
from harness.helper import Helper
from harness.machine import wait_until
from harness.proxy import Proxy

pytestmark = [pytest.mark.etcd, pytest.mark.slow]

TTL, REFRESH = 9, 2


@pytest.fixture
def proxy(etcd):
    with Proxy(etcd.endpoints[0]) as proxy:
        yield proxy


def keys(etcd, lock_name):
    return etcd.keys(f"/_locks/_ctdb/{lock_name}/")


@contextmanager
def successor_of(conf):
    """The first other helper that says `0`; until then nobody else had the lock."""
    deadline = time.monotonic() + 2 * TTL + 5
    while time.monotonic() < deadline:
        with Helper(conf) as other:
            if other.status() == "0":
                yield other
                return
    raise AssertionError("nobody can take the lock")


@pytest.mark.parametrize("phase", [0.0, 0.7, 1.4])
@pytest.mark.parametrize("how", ["freeze", "freeze_answers"])
def test_a_frozen_network_ends_the_holder_before_anybody_else_can_hold(etcd, proxy, helper_conf, how, phase):
    with Helper(helper_conf(host=proxy.endpoint)) as helper:
        assert helper.status() == "0"
        time.sleep(REFRESH + phase)
        getattr(proxy, how)()
        with successor_of(helper_conf()) as successor:
            assert helper.eof is not None and helper.eof < successor.first_byte, helper.describe()
        assert helper.stdout == b"0"
        assert "lost " in helper.stderr and "no answer" in helper.stderr


@pytest.mark.parametrize("how", ["freeze", "freeze_answers"])
def test_sigterm_behind_a_frozen_network_ends_the_holder_within_2_s(proxy, helper_conf, how):
    with Helper(helper_conf(host=proxy.endpoint)) as helper:
        assert helper.status() == "0"
        getattr(proxy, how)()
        # Once while it waits for its next refresh, once (by then) inside of a request.
        time.sleep(REFRESH + 0.5)
        helper.terminate()
        asked = time.monotonic()
        assert helper.wait_exit() - asked < 2


def test_sigterm_while_acquiring_behind_a_frozen_network_leaves_nothing(etcd, proxy, helper_conf, lock_name):
    for path in b"kv/range", b"lease/grant", b"kv/txn":
        proxy.hold_next_request(path)
        with Helper(helper_conf(host=proxy.endpoint)) as helper:
            proxy.wait_held()
            helper.terminate()
            asked = time.monotonic()
            assert helper.wait_exit() - asked < 2
            assert helper.stdout == b""
        proxy.release()
        time.sleep(0.3)
        # What was held arrives after the end: without its lease it can do nothing, and the lease ends by itself.
        assert not keys(etcd, lock_name)


@pytest.mark.parametrize("phase", [0.1, 0.6, 1.1, 1.6, 1.95])
@pytest.mark.parametrize("how", ["refuse", "freeze", "freeze_answers"])
def test_etcd_away_for_3_s_at_any_phase_costs_nothing(etcd, proxy, helper_conf, lock_name, how, phase):
    with Helper(helper_conf(host=proxy.endpoint)) as helper:
        assert helper.status() == "0"
        (key,) = keys(etcd, lock_name)
        time.sleep(REFRESH + phase)
        getattr(proxy, how)()
        time.sleep(3)
        proxy.forward()
        time.sleep(TTL)
        assert helper.alive and keys(etcd, lock_name) == [key], helper.describe()


@pytest.mark.parametrize("path", [b"kv/range", b"lease/grant", b"kv/txn"])
@pytest.mark.parametrize("how", ["freeze", "freeze_answers", "refuse"])
def test_etcd_away_for_3_s_while_acquiring_still_gives_the_lock(etcd, proxy, helper_conf, lock_name, how, path):
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


@pytest.mark.parametrize("how", ["reset", "truncate_answers"])
def test_a_connection_that_breaks_is_made_anew(etcd, proxy, helper_conf, lock_name, how):
    with Helper(helper_conf(host=proxy.endpoint)) as helper:
        assert helper.status() == "0"
        for _ in range(6):
            getattr(proxy, how)()
            time.sleep(0.3)
            proxy.forward()
            time.sleep(1)
        assert helper.alive and len(keys(etcd, lock_name)) == 1


@pytest.mark.parametrize("which", ["the one in use", "the leader", "another"])
@pytest.mark.parametrize("how", ["kill", "pause"])
def test_one_member_of_three_gone_costs_nothing(etcd3, helper_conf, lock_name, which, how):
    leader = etcd3.leader()
    others = [member for member in etcd3.members if member is not leader]
    in_use, victim = {
        "the one in use": (others[0], others[0]),
        "the leader": (others[0], leader),
        "another": (leader, others[0]),
    }[which]
    order = [in_use] + [member for member in etcd3.members if member is not in_use]
    with Helper(helper_conf(host=[member.endpoint for member in order])) as helper:
        assert helper.status() == "0"
        (key,) = keys(etcd3, lock_name)
        time.sleep(REFRESH + 0.5)
        getattr(victim, how)()
        try:
            time.sleep(TTL + 3)
            assert helper.alive and keys(etcd3, lock_name) == [key], helper.describe()
            helper.terminate()
            helper.wait_exit()
            assert not keys(etcd3, lock_name)
            with Helper(helper_conf(host=etcd3.endpoints)) as successor:
                assert successor.status() == "0"
                assert successor.answered_after < 5  # ctdbd's patience in a recovery
        finally:
            etcd3.heal()


@pytest.mark.parametrize("how", ["refuse", "freeze"])
def test_unreachable_etcd_is_tried_until_acquire_timeout_and_then_answered_with_2(proxy, helper_conf, how):
    getattr(proxy, how)()
    with Helper(helper_conf(host=proxy.endpoint, acquire_timeout=6)) as helper:
        wait_until(lambda: helper.stderr, 4, "a line after the first round")
        assert len(helper.stderr.splitlines()) == 1 and proxy.endpoint in helper.stderr
        assert helper.alive and helper.stdout == b""
        assert helper.status() == "2"
        assert 5 < helper.answered_after < 7
        helper.wait_exit()
        assert helper.stdout == b"2" and len(helper.stderr.splitlines()) == 2


def test_etcd_that_comes_back_while_it_is_tried_gives_the_lock(proxy, helper_conf):
    proxy.refuse()
    with Helper(helper_conf(host=proxy.endpoint)) as helper:
        time.sleep(4)
        proxy.forward()
        assert helper.status(3) == "0"
        assert "answers again" in helper.stderr


def test_a_late_answer_is_no_lock(etcd, proxy, helper_conf, lock_name):
    """The answer to the transaction comes when the lease is over and another one has the lock."""
    proxy.hold_next_request(b"kv/txn")
    with Helper(helper_conf(host=proxy.endpoint, read_timeout=60, acquire_timeout=20)) as helper:
        proxy.wait_held()
        proxy.freeze_answers()
        proxy.release()
        wait_until(lambda: keys(etcd, lock_name), 5, "the transaction to reach etcd")
        (key,) = keys(etcd, lock_name)
        etcd.revoke(key["lease"])
        with Helper(helper_conf()) as other:
            assert other.status() == "0"
            time.sleep(TTL)
            proxy.forward()
            assert helper.status(20) == "1", helper.describe()
            assert other.alive


def test_a_held_back_renewal_does_not_evict_the_successor(etcd, proxy, helper_conf, lock_name):
    with Helper(helper_conf(host=proxy.endpoint)) as helper:
        assert helper.status() == "0"
        proxy.freeze()
        with successor_of(helper_conf()) as successor:
            (key,) = keys(etcd, lock_name)
            proxy.forward()
            time.sleep(1)
            assert keys(etcd, lock_name) == [key] and successor.alive and not helper.alive


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
def test_a_passing_error_of_any_release_is_waited_out(etcd, proxy, helper_conf, body):
    proxy.answer_with(503, body)
    with Helper(helper_conf(host=proxy.endpoint)) as helper:
        wait_until(lambda: helper.stderr, 5, "a line after the first round")
        assert "etcd says: etcdserver: no leader" in helper.stderr
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
def test_a_refusal_of_any_release_is_answered_with_3_at_once(proxy, helper_conf, body):
    proxy.answer_with(403, body)
    with Helper(helper_conf(host=proxy.endpoint)) as helper:
        assert helper.status() == "3"
        assert helper.answered_after < 3
        helper.wait_exit()
        assert len(helper.stderr.splitlines()) == 1 and "permission denied" in helper.stderr


def test_etcd_without_the_gateway_is_answered_with_3_and_what_to_do(helper_conf):
    with Etcd(1, ["--enable-grpc-gateway=false"]) as etcd, Helper(helper_conf(host=etcd.endpoints[0])) as helper:
        assert helper.status() == "3"
        assert helper.answered_after < 3
        helper.wait_exit()
        (line,) = helper.stderr.splitlines()
        assert "enable-grpc-gateway" in line
