# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of a real CTDB cluster with our lock: nodes die, are cut off and come back, and two never hold the lock.

Tests of one xdist_group share a cluster, one after the other. Each finds it healthy.
"""

from __future__ import annotations

import re
import time
from contextlib import ExitStack

import pytest

from tests.support.cluster import DIRECTORY, Cluster
from tests.support.holder_watch import HolderWatch

pytestmark = pytest.mark.slow

TTL = 9
# Seconds that a busy machine may need: the lease's end, two elections of 5 s each, a recovery.
TAKEN = 40
# Seconds: the same, plus the return of a node (15 s) or recoveries in which a node without etcd costs 5 s each.
HEALTHY = 90
# Seconds until CTDB considers a silent node dead. Until then its peers get no leader.
SILENT = 30


class Shared:
    """The cluster that tests share, watched since its start. A new one replaces it if a test left it unhealthy."""

    def __init__(self, etcd_members=1):
        self._members = etcd_members
        self._stack = ExitStack()
        self._watch = None

    def healthy(self):
        if self._watch and not self._heal():
            self.close()
        if not self._watch:
            cluster = self._stack.enter_context(Cluster.of_program(self._members))
            self._watch = self._stack.enter_context(HolderWatch(cluster))
            cluster.wait_healthy(timeout=HEALTHY)
        # Otherwise CTDB refuses the next recovery for 10 s. A restarted node has forgotten the setting.
        self._watch.cluster.set_tunable("RerecoveryTimeout", 1)
        return self._watch

    def _heal(self):
        cluster = self._watch.cluster
        for node in cluster.nodes:
            cluster.heal(node.number)
            if not node.running():
                node.start()
        try:
            cluster.wait_healthy()
            return not self._watch.overlaps()
        except AssertionError:
            return False

    def close(self):
        self._stack.close()
        self._watch = None


@pytest.fixture(scope="module")
def shared():
    shared = Shared()
    yield shared
    shared.close()


def shown(watch):
    """Yield the watch to a test, then print it: pytest shows the output if the test failed."""
    begun = time.monotonic()
    yield watch
    print(f"test begun at {begun:.1f}; holders:", *watch.holders(), "overlaps:", *watch.overlaps(), sep="\n  ")
    print(watch.cluster.last_words(60))


@pytest.fixture
def watch(shared):
    """The watch of a healthy cluster; `watch.cluster` is the cluster."""
    yield from shown(shared.healthy())


@pytest.fixture
def watch_of_etcd3():
    """As `watch`, for a cluster with an etcd of three members."""
    shared = Shared(etcd_members=3)
    try:
        yield from shown(shared.healthy())
    finally:
        shared.close()


def wait_taken(watch, other_than=None, timeout=TAKEN):
    """Wait until exactly one holder lives and it is not `other_than`; return its life."""

    def taken():
        assert watch.overlaps() == []
        living = watch.living()
        return living[0] if len(living) == 1 and living[0] is not other_than else None

    what = "exactly one holder" + (f" after {other_than}" if other_than else "")
    return watch.cluster.wait_until(taken, what, timeout)


def wait_all_is_well(watch, nodes=None):
    """Wait until the nodes are healthy and the only holder is their leader and has the only key; return its life."""
    cluster = watch.cluster
    cluster.wait_healthy(nodes, timeout=HEALTHY)
    life = wait_taken(watch)
    assert cluster.wait_leader().number == life.node
    ((_, pnn, pid),) = cluster.lock_keys()
    assert (pnn + 1, pid) == (life.node, life.pid)
    return life


def others_than(watch, life):
    return [node for node in watch.cluster.nodes if node.number != life.node]


# The end of a holder

ends = pytest.mark.xdist_group("ctdb cluster: what ends a holder")


@ends
def test_started_cluster_is_healthy_and_only_its_leader_holds(watch):
    life = wait_all_is_well(watch)
    ((key, _, _),) = watch.cluster.lock_keys()
    assert re.fullmatch(rf"{DIRECTORY}[0-9a-f]+", key) and DIRECTORY == "/_locks/_ctdb/DEMO/"
    assert watch.holders() == [life] and life.by == "ctdb_recoverd"


@ends
def test_lock_stays_held_in_ten_recoveries_in_a_row(watch):
    cluster = watch.cluster
    life = wait_all_is_well(watch)
    before = [len(node.log()) for node in cluster.nodes]
    for _ in range(10):
        cluster.recover(timeout=60)
    assert wait_all_is_well(watch) is life
    news = "".join(node.log()[seen:] for node, seen in zip(cluster.nodes, before))
    assert news.count("Recovery complete") >= 10
    # In each recovery the helpers of all three nodes look at the lock.
    assert news.count(f"ctdb_etcd_lock: contention: {DIRECTORY} is held by") >= 30
    complaints = re.compile("Unable to take(?! cluster lock - contention)|Unexpected error|Time out|Took recovery lock")
    assert [line for line in news.splitlines() if complaints.search(line)] == []
    assert watch.overlaps() == []


@ends
def test_a_deleted_key_ends_the_holder_and_the_lock_is_taken_again(watch):
    life = wait_all_is_well(watch)
    ((key, _, _),) = watch.cluster.lock_keys()
    watch.cluster.etcd.ctl("del", key)
    wait_taken(watch, other_than=life)
    wait_all_is_well(watch)
    assert key not in dict.fromkeys(key for key, _, _ in watch.cluster.lock_keys())
    assert watch.overlaps() == []


@ends
def test_lock_of_a_killed_helper_is_taken_again(watch):
    life = wait_all_is_well(watch)
    watch.cluster.nodes[life.node - 1].kill_helper()
    wait_taken(watch, other_than=life)
    wait_all_is_well(watch)
    assert watch.overlaps() == []


@ends
def test_leader_shut_down_gives_the_lock_to_another_and_rejoins(watch):
    cluster = watch.cluster
    life = wait_all_is_well(watch)
    ((key, _, _),) = cluster.lock_keys()
    node = cluster.nodes[life.node - 1]
    node.shutdown(timeout=60)
    assert key not in cluster.etcd.keys(DIRECTORY), "it was not released"
    wait_taken(watch, other_than=life)
    successor = wait_all_is_well(watch, others_than(watch, life))
    node.start()
    assert wait_all_is_well(watch) is successor
    assert watch.overlaps() == []


@ends
def test_dead_leader_is_succeeded_and_rejoins(watch):
    cluster = watch.cluster
    life = wait_all_is_well(watch)
    node = cluster.nodes[life.node - 1]
    node.kill_all()
    wait_taken(watch, other_than=life)
    successor = wait_all_is_well(watch, others_than(watch, life))
    assert successor.node != life.node
    node.start()
    assert wait_all_is_well(watch) is successor
    assert watch.overlaps() == []


# Nodes that are cut off

cuts = pytest.mark.xdist_group("ctdb cluster: what cuts a node off")


def stays_up(watch, seconds):
    """Check that all nodes are healthy and no recovery begins in this many seconds."""
    watch.cluster.wait_healthy(timeout=HEALTHY)
    begun = watch.cluster.recoveries_begun()
    time.sleep(seconds)
    assert watch.cluster.recoveries_begun() == begun
    watch.cluster.wait_healthy(timeout=HEALTHY)


@cuts
def test_follower_without_etcd_does_not_affect_the_cluster(watch):
    cluster = watch.cluster
    life = wait_all_is_well(watch)
    follower = others_than(watch, life)[0]
    cluster.cut_from_etcd(follower.number)
    cluster.recover(timeout=60)
    stays_up(watch, 12)
    assert watch.living() == [life]
    cluster.heal(follower.number)
    assert wait_all_is_well(watch) is life
    assert watch.overlaps() == []


@cuts
def test_leader_without_etcd_loses_the_lock_and_the_cluster_stays_up(watch):
    cluster = watch.cluster
    life = wait_all_is_well(watch)
    cut = time.monotonic()
    cluster.cut_from_etcd(life.node)
    # The lease has ended by now. If the holder still lived, the recovery's checks would find the lock free.
    time.sleep(TTL + 3)
    others_than(watch, life)[0].ctdb("recover", timeout=15, check=False)
    successor = wait_taken(watch, other_than=life)
    assert successor.node != life.node
    stays_up(watch, max(10, cut + 40 - time.monotonic()))
    assert watch.living() == [successor]
    cluster.heal(life.node)
    wait_all_is_well(watch)
    assert watch.overlaps() == []


@pytest.mark.xdist_group("ctdb cluster: a leader alone")
def test_isolated_leader_is_gone_when_others_take_the_lock(watch):
    cluster = watch.cluster
    life = wait_all_is_well(watch)
    others = others_than(watch, life)
    cut = time.monotonic()
    cluster.cut_from_etcd(life.node)
    cluster.cut_from_peers(life.node)
    successor = wait_taken(watch, other_than=life, timeout=SILENT + TAKEN)
    assert successor.node != life.node
    assert wait_all_is_well(watch, others) is successor
    time.sleep(max(0, cut + 60 - time.monotonic()))
    assert watch.living() == [successor]
    cluster.heal(life.node)
    cluster.wait_back(life.node, timeout=120)
    wait_all_is_well(watch)
    assert watch.overlaps() == []


@pytest.mark.xdist_group("ctdb cluster: a member of etcd")
def test_lock_stays_held_when_the_etcd_member_of_the_holder_dies(watch_of_etcd3):
    watch, cluster = watch_of_etcd3, watch_of_etcd3.cluster
    life = wait_all_is_well(watch)
    keys = cluster.lock_keys()
    port = cluster.etcd_port_of(life.pid)
    cluster.etcd.kill_member(port)
    cluster.recover(timeout=60)
    time.sleep(TTL + 3)
    assert cluster.etcd_port_of(life.pid) != port
    assert wait_all_is_well(watch) is life and cluster.lock_keys() == keys
    cluster.etcd.start_member(port)
    cluster.etcd.wait_healthy()
    cluster.recover(timeout=60)
    assert wait_all_is_well(watch) is life and cluster.lock_keys() == keys
    assert watch.holders() == [life]
