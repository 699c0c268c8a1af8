# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of etcd's upgrade from 3.5 to 3.6 to 3.7 under a real CTDB cluster, member by member.

test_etcd_upgrade.py in tests/etcd/lock explains the snapshots.
"""

from __future__ import annotations

import json
from typing import Callable

import pytest

from tests.support.cluster import Cluster
from tests.support.holder_watch import HolderWatch
from tests.support.upgrade import SNAPSHOTS, newest_snapshot

pytestmark = pytest.mark.slow


def wait_version(cluster: Cluster, version: str) -> None:
    """Wait until the members agree that all are of this version. Before that, etcd refuses the next version."""
    urls = [f"http://127.0.0.1:{port}/version" for port in cluster.etcd.ports]
    script = f"import urllib.request as u; print(*(u.urlopen(url).read().decode() for url in {urls}), sep='\\n')"

    def agreed() -> bool:
        lines = cluster.namespace.run("/usr/bin/python3", "-I", "-c", script).splitlines()
        return all(json.loads(line)["etcdcluster"] == version for line in lines)

    cluster.wait_until(agreed, f"etcd to be of version {version}")


def write_snapshots(cluster: Cluster) -> None:
    """Write keys, and wait until every member has a snapshot of everything that was written before."""
    etcd = cluster.etcd
    applied = max(one["Status"]["raftAppliedIndex"] for one in json.loads(etcd.ctl("endpoint", "status", "-w", "json")))
    for _ in range(3):
        etcd.ctl("put", "/snapshot", "")
    data = [cluster.namespace.outside(f"/run/etcd{port}") for port in etcd.ports]
    cluster.wait_until(lambda: min(map(newest_snapshot, data)) >= applied, "a snapshot of every member")


def test_leader_and_its_helper_stay_while_etcd_moves_to_3_7(built_etcd: Callable[[str], str]) -> None:
    cluster = Cluster.of_program(etcd_members=3)
    etcd = cluster.etcd
    etcd.program, etcd.args = built_etcd("3.5"), SNAPSHOTS
    with cluster, HolderWatch(cluster) as watch:
        cluster.wait_healthy(timeout=120)
        # Otherwise CTDB refuses the next recovery for 10 s.
        cluster.set_tunable("RerecoveryTimeout", 1)
        leader = cluster.wait_leader(timeout=60)
        before = watch.holders()
        for branch in ("3.6", "3.7"):
            etcd.program = built_etcd(branch)
            for port in etcd.ports:
                etcd.stop_member(port)
                # Every node's helper looks at the lock while a member is missing.
                cluster.recover(timeout=60)
                etcd.start_member(port)
                etcd.wait_healthy()
                cluster.recover(timeout=60)
            wait_version(cluster, f"{branch}.0")
            write_snapshots(cluster)
        cluster.wait_healthy(timeout=120)
        assert watch.holders() == before and len(watch.living()) == 1
        assert cluster.leader() is leader
        # On a busy machine a start takes more than a second.
        assert [line for line in cluster.log_lines_of_trouble() if "High RECLOCK latency" not in line] == []
