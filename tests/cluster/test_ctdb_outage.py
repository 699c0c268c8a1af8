# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of a CTDB cluster whose etcd is away or slow for a while: no node is banned, and all are soon healthy again.

CTDB 4.22 and others ban a node whose helper answers anything but `0` later than 5 s after an election began.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager

import pytest

from tests.support import TREE
from tests.support.cluster import Cluster
from tests.support.holder_watch import HolderWatch
from tests.support.node import Node
from tests.support.side_by_side import side_by_side

pytestmark = pytest.mark.slow

# Seconds. An idle machine needed less than 15.
HEALTHY = 40
# CTDB's words for a ban in every release, in the log and in `ctdb status`.
BANS = ("ban node", "Banning this node", "BANNED")


@contextmanager
def watched(ttl):
    cluster = Cluster.of_program(lock_conf={"lock_ttl": ttl})
    with cluster, HolderWatch(cluster) as watch:
        cluster.wait_healthy(timeout=90)
        cluster.set_tunable("RerecoveryTimeout", 1)
        yield watch
        print(cluster.last_words(60))


def assert_nobody_is_banned(watch):
    for node in filter(Node.running, watch.cluster.nodes):
        text = node.log() + node.status()
        assert not [word for word in BANS if word in text], node.log()[-5000:]
    assert watch.holders() and not watch.overlaps()


def away(cluster, how):
    """Make etcd unreachable; return the function that brings it back."""
    if how == "refuses":
        cluster.etcd.kill_member(cluster.etcd.ports[0])
        return lambda: cluster.etcd.start_member(cluster.etcd.ports[0])
    for node in cluster.nodes:
        cluster.cut_from_etcd(node.number)

    def back():
        for node in cluster.nodes:
            cluster.heal(node.number)

    return back


@pytest.mark.parametrize("how, seconds, recovery", [("is silent", 20, False), ("refuses", 45, True)])
def test_etcd_outage_causes_no_ban(how, seconds, recovery):
    def scenario(ttl):
        with watched(ttl) as watch:
            cluster = watch.cluster
            back = away(cluster, how)
            gone = time.monotonic()
            if recovery:
                time.sleep(10)
                cluster.nodes[0].ctdb("recover", timeout=5, check=False)
            time.sleep(max(0.0, gone + seconds - time.monotonic()))
            assert_nobody_is_banned(watch)
            back()
            returned = time.monotonic()
            cluster.wait_healthy(timeout=HEALTHY)
            took = time.monotonic() - returned
            print(f"\nttl {ttl}, etcd {how} for {seconds} s: all healthy {took:.1f} s after its return")
            assert_nobody_is_banned(watch)

    side_by_side(scenario, [(9,), (20,)])


def test_one_node_without_etcd_is_not_banned():
    with watched(9) as watch:
        cluster = watch.cluster
        leader = cluster.wait_leader()
        follower = next(node for node in cluster.nodes if node is not leader)
        for node in (follower, leader):
            cluster.cut_from_etcd(node.number)
            time.sleep(20)
            assert_nobody_is_banned(watch)
            cluster.heal(node.number)
            cluster.wait_healthy(timeout=HEALTHY)
        assert_nobody_is_banned(watch)


def test_survivors_are_not_banned_when_all_on_leaders_machine_is_killed():
    with Cluster.of_program(machines=True) as cluster, HolderWatch(cluster) as watch:
        cluster.wait_healthy(timeout=90)
        leader = cluster.wait_leader()
        lost = time.time()
        leader.kill_all()
        took = cluster.taken_after(lost)
        print(f"\nall on its machine killed: lock taken again after {took:.2f} s")
        cluster.wait_healthy([node for node in cluster.nodes if node is not leader], timeout=90)
        assert_nobody_is_banned(watch)


def slow_down(cluster, seconds):
    """Let each answer of the proxy in the cluster's namespace take this many seconds from now on."""
    command = json.dumps({"do": "mode", "delay": seconds})
    cluster.namespace.run("sh", "-c", 'echo "$1" >/run/proxy', "sh", command)


def test_etcd_that_answers_in_500_ms_causes_no_ban():
    cluster = Cluster.of_program(lock_conf={"host": "127.0.0.1:3379"})
    proxy = [sys.executable, "-m", "tests.support.proxy_server", "3379", "127.0.0.1", "2379"]
    try:
        # The reader also opens the FIFO for writing, so it never reaches the end of its commands.
        cluster.namespace.run("mkfifo", "/run/proxy")
        cluster.namespace.popen("sh", "-c", '"$@" <>/run/proxy', "sh", *proxy, env={"PYTHONPATH": str(TREE)})
        with cluster, HolderWatch(cluster) as watch:
            cluster.wait_healthy(timeout=90)
            cluster.set_tunable("RerecoveryTimeout", 1)
            leader = cluster.wait_leader()
            slow_down(cluster, 0.5)
            time.sleep(10)
            print(f"\nrecovery with a slow etcd: {cluster.recover():.2f} s")
            assert cluster.wait_leader() is leader
            assert_nobody_is_banned(watch)
            leader.kill_all()
            rest = [node for node in cluster.nodes if node is not leader]
            cluster.wait_healthy(rest, timeout=90)
            assert_nobody_is_banned(watch)
    finally:
        cluster.stop()
