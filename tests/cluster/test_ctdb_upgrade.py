# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of a running cluster that moves from Samba's helper to ours, node by node; its etcd then loses the v2 API."""

from __future__ import annotations

import time

import pytest

from tests.support import release
from tests.support.cluster import DIRECTORY, NAME, Cluster
from tests.support.helper import PROGRAM
from tests.support.holder_watch import HolderWatch
from tests.support.samba import PROGRAM as SAMBAS

pytestmark = pytest.mark.slow

TTL = 9
# CTDB wants the same path on all nodes. What is installed there differs.
HELPER = "/run/helper"


def install(node, command):
    """Install a command at the path on this node, as a package would."""
    lock = node.files / "helper"
    lock.write_text(f"#!/bin/sh\nexport SMB_CONF_PATH=/run/smb.conf\nexec {command}\n")
    lock.chmod(0o755)


@pytest.fixture
def cluster():
    cluster = Cluster(HELPER, etcd_members=3, etcd_args=release.v2_flags())
    outside = cluster.namespace.outside
    outside("/run/ours").symlink_to(PROGRAM)
    outside("/run/smb.conf").write_text(f"[global]\nnetbios name = {NAME}\n")
    outside(HELPER).write_text('#!/bin/sh\nexec "$CTDB_BASE/helper"\n')
    outside(HELPER).chmod(0o755)
    cluster.also_helpers = {(SAMBAS,), ("/run/ours", "-v")}
    for node in cluster.nodes:
        (node.files / "etcd").write_text(f"host=127.0.24.{node.number}\nport=2379\n")
        install(node, SAMBAS)
    with cluster:
        yield cluster


def rest(watch):
    """Check that the cluster is healthy with exactly one holder, and stays so in two recoveries."""
    cluster = watch.cluster
    cluster.wait_healthy(timeout=120)
    cluster.set_tunable("RerecoveryTimeout", 1)
    for _ in range(2):
        cluster.recover(timeout=60)
        cluster.wait_healthy(timeout=120)
    cluster.wait_until(lambda: len(watch.living()) == 1, "exactly one holder", timeout=60)
    assert watch.overlaps() == []


def taken(cluster):
    """Return the lines in which our helpers log that they hold. Each line begins with its time."""
    return [line for node in cluster.nodes for line in node.log().splitlines() if " holding " in line]


@pytest.mark.v2
def test_cluster_moved_node_by_node_never_has_two_holders(cluster):
    with HolderWatch(cluster) as watch:
        rest(watch)
        for node in cluster.nodes:
            # The keys that Samba's losing helpers leave block everybody for a TTL. The manual says to wait.
            time.sleep(TTL + 1)
            node.shutdown(timeout=60)
            install(node, "/run/ours -v")
            node.start()
            rest(watch)
        assert cluster.etcd.keys(DIRECTORY), "the v3 lock is not held"
        cluster.etcd.args = []
        for port in cluster.etcd.ports:
            cluster.etcd.kill_member(port)
            cluster.etcd.start_member(port)
            cluster.etcd.wait_healthy()
            rest(watch)
        # A holder of both locks notices the loss of one only at its next refresh.
        cluster.wait_until(lambda: "(v2, " not in max(taken(cluster)), "a holder of the v3 lock alone", timeout=60)
        rest(watch)
        assert "(v2, " in min(taken(cluster))
