# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of faults of etcd and the network: a lock is kept while it can be, and given up before another can have it."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack

import pytest

from tests.support import kinds, release
from tests.support.etcd import Etcd
from tests.support.helper import Helper, successor_of
from tests.support.machine import wait_until
from tests.support.proxy import Proxy
from tests.support.side_by_side import side_by_side

pytestmark = pytest.mark.slow

TTL, REFRESH = 9, 2
RENEWALS = r"POST /v3/lease/(grant|keepalive)", r"(POST|PUT) /v2/keys"
# Seconds for which nobody else can have the lock of a holder that has just lost the network.
LEASE = TTL - REFRESH - 1


kind, etcd, conf = kinds.kind, kinds.etcd, kinds.conf


@pytest.fixture
def proxy(etcd):
    with Proxy(etcd.endpoints[0]) as proxy:
        yield proxy


def keys(etcd, lock_name):
    return etcd.keys(f"/_locks/_ctdb/{lock_name}/") + etcd.keys_v2(f"/_locks/_ctdb/{lock_name}")


def test_frozen_network_ends_the_holder_before_another_can_hold(etcd, conf, lock_name):
    def scenario(how, phase):
        name = f"{lock_name}.{phase}"
        with Proxy(etcd.endpoints[0]) as proxy, Helper(conf(host=proxy.endpoint, netbios_name=name)) as helper:
            assert helper.status() == "0"
            time.sleep(REFRESH + phase)
            getattr(proxy, how)()
            frozen = time.monotonic()
            with successor_of(conf(netbios_name=name), LEASE) as successor:
                assert helper.eof is not None and helper.eof < successor.first_byte, helper.describe()
            # etcd may end a lease late. The holder ends a second before the first moment at which etcd may end it.
            requests = [(moment, line) for moment, line in proxy.seen().requests if moment < frozen]
            renewed = [[moment for moment, line in requests if re.match(api, line)] for api in RENEWALS]
            assert any(renewed), requests
            assert helper.eof < min(max(moments) for moments in renewed if moments) + TTL - 0.5, helper.describe()
            assert helper.stdout == b"0"
            assert "lost " in helper.stderr and "no answer" in helper.stderr

    side_by_side(scenario, [("freeze", 0.0), ("freeze_answers", 0.7), ("freeze", 1.4)])


@pytest.mark.parametrize("how", ["freeze", "freeze_answers"])
def test_sigterm_behind_a_frozen_network_interrupts_the_wait(proxy, conf, how):
    with Helper(conf(host=proxy.endpoint, lock_ttl=60, read_timeout=20)) as helper:
        assert helper.status() == "0"
        getattr(proxy, how)()
        # By then the helper waits for the answer to a renewal.
        time.sleep(REFRESH + 0.5)
        helper.terminate()
        asked = time.monotonic()
        assert helper.wait_exit() - asked < 5


def test_etcd_outage_of_3_s_at_any_phase_keeps_the_lock(etcd, conf, lock_name):
    def scenario(how, phase):
        name = f"{lock_name}.{how[-7:]}.{phase}".upper()
        with Proxy(etcd.endpoints[0]) as proxy, Helper(conf(host=proxy.endpoint, netbios_name=name)) as helper:
            assert helper.status() == "0"
            held = keys(etcd, name)
            assert held
            time.sleep(REFRESH + phase)
            getattr(proxy, how)()
            time.sleep(3)
            proxy.forward()
            time.sleep(TTL)
            assert helper.alive and keys(etcd, name) == held, helper.describe()

    phases = {"refuse": (0.1, 1.95), "freeze": (0.6, 1.95), "freeze_answers": (1.1, 1.6)}
    side_by_side(scenario, [(how, phase) for how in phases for phase in phases[how]])


@pytest.mark.parametrize("how", ["reset", "truncate_answers"])
def test_broken_connection_is_made_again(etcd, proxy, conf, lock_name, how):
    with Helper(conf(host=proxy.endpoint)) as helper:
        assert helper.status() == "0"
        for _ in range(6):
            getattr(proxy, how)()
            time.sleep(0.3)
            proxy.forward()
            time.sleep(1)
        time.sleep(TTL)
        assert helper.alive and keys(etcd, lock_name)


@pytest.mark.parametrize("apis", [["auto"], pytest.param(["2", "auto"], marks=pytest.mark.v2)], ids=["v3", "v2, both"])
@pytest.mark.parametrize(
    "how, which",
    [
        ("kill", "the one in use"),
        ("pause", "the one in use"),
        ("kill", "the leader"),
        ("pause", "the leader"),
        ("pause", "another"),
    ],
)
def test_loss_of_one_member_of_three_keeps_the_lock(helper_conf, lock_name, apis, which, how):
    with Etcd(3, release.v2_flags() if "2" in apis else []) as etcd3, ExitStack() as stack:
        leader = etcd3.leader()
        others = [member for member in etcd3.members if member is not leader]
        in_use, victim = {
            "the one in use": (others[0], others[0]),
            "the leader": (others[0], leader),
            "another": (leader, others[0]),
        }[which]
        order = [in_use] + [member for member in etcd3.members if member is not in_use]
        names = {api: f"{lock_name}.{api.upper()}" for api in apis}

        def start(api, members):
            hosts = [member.endpoint for member in members]
            conf = helper_conf(api=api, host=hosts, netbios_name=names[api])
            return stack.enter_context(Helper(conf))

        helpers = {api: start(api, order) for api in apis}
        assert [helper.status() for helper in helpers.values()] == ["0"] * len(apis)
        held = {api: keys(etcd3, names[api]) for api in apis}
        assert all(held.values())
        time.sleep(REFRESH + 0.5)
        getattr(victim, how)()
        time.sleep(TTL + 3)
        for api, helper in helpers.items():
            assert helper.alive and keys(etcd3, names[api]) == held[api], helper.describe()
            helper.terminate()
            helper.wait_exit()
            assert not keys(etcd3, names[api])
            successor = start(api, etcd3.members)
            assert successor.status() == "0"
            assert successor.answered_after < 10  # as long as ctdbd waits in a recovery


@pytest.mark.parametrize("how", ["refuse", "freeze"])
def test_unreachable_etcd_gives_2_after_acquire_timeout(proxy, conf, how):
    getattr(proxy, how)()
    with Helper(conf(host=proxy.endpoint, acquire_timeout=6)) as helper:
        wait_until(lambda: helper.stderr, "a line after the first round")
        assert len(helper.stderr.splitlines()) == 1 and proxy.endpoint in helper.stderr
        assert helper.alive and helper.stdout == b""
        assert helper.status() == "2"
        # No try begins in the last moment: the longest pause is 0.3 s.
        assert 5.5 < helper.answered_after < 8.5
        helper.wait_exit()
        assert helper.stdout == b"2" and len(helper.stderr.splitlines()) == 2


def test_etcd_that_comes_back_during_a_try_gives_the_lock(proxy, conf):
    proxy.refuse()
    with Helper(conf(host=proxy.endpoint)) as helper:
        wait_until(lambda: helper.stderr, "a line after the first round")
        proxy.forward()
        assert helper.status() == "0"
        assert "answers again" in helper.stderr


def test_a_held_back_renewal_does_not_evict_the_successor(etcd, proxy, conf, lock_name):
    with Helper(conf(host=proxy.endpoint)) as helper:
        assert helper.status() == "0"
        proxy.freeze()
        with successor_of(conf(), LEASE) as successor:
            held = keys(etcd, lock_name)
            proxy.forward()
            time.sleep(1)
            assert keys(etcd, lock_name) == held and successor.alive and not helper.alive
