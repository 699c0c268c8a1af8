# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Measures recoveries and takeovers in real CTDB clusters of three nodes, one cluster for each helper.

Recoveries are forced in one cluster after the other, in turns. Takeovers take long because of CTDB's own timeouts, so
all clusters run theirs at the same time.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Callable

from tests.support import release
from tests.support.cluster import NAME, Cluster
from tests.support.helper import PROGRAM
from tests.support.holder_watch import HolderWatch, Life
from tests.support.node import Node
from tests.support.samba import PROGRAM as SAMBAS_PROGRAM

from .figures import Figures
from .peers import FCNTL, FCNTL_PROGRAM, SAMBAS

OURS = "this helper"
TABLE = "clusters"
RECOVERY = "a recovery"
HELPER_KILLED, STOPPED = "helper killed", "leader stopped"
# Which has the others' processes too, so that they see its helper's end.
NODE_KILLED = "all of the leader killed, others on its machine"

# s: a takeover that takes longer counts as failed.
LONGEST = 30.0


class Bench:
    """A context manager that runs all the clusters."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._watches: dict[str, HolderWatch] = {}

    def __enter__(self) -> Bench:
        with ExitStack() as stack:
            clusters = {OURS: _ours()}
            if release.serves_v2():
                clusters[SAMBAS] = _sambas()
            clusters[FCNTL] = Cluster(f"{FCNTL_PROGRAM} /run/lock-of-all")
            for name, cluster in clusters.items():
                stack.enter_context(cluster)
                self._watches[name] = HolderWatch(cluster)
            for cluster in clusters.values():
                cluster.wait_healthy(timeout=120)
                # Else CTDB refuses the next recovery for 10 s.
                cluster.set_tunable("RerecoveryTimeout", 1)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure_recoveries(self, turns: int, figures: Figures) -> None:
        """Measure each recovery from its beginning to its end, by the leader's log."""
        for _ in range(turns):
            for name, watch in self._watches.items():
                figures.add(TABLE, name, RECOVERY, watch.cluster.recover(timeout=60))
                # The cluster refuses the next recovery for 1 s; the other clusters have their turns meanwhile.
                time.sleep(0.4)

    def measure_takeovers(self, turns: int, figures: Figures) -> None:
        """Measure the time from the fault until another helper holds the lock."""
        with ExitStack() as stack:
            for watch in self._watches.values():
                stack.enter_context(watch)
            with ThreadPoolExecutor(len(self._watches)) as pool:
                try:
                    list(pool.map(lambda name: self._takeovers(name, turns, figures), self._watches))
                except BaseException:
                    # The threads end at once when their clusters are gone.
                    for watch in self._watches.values():
                        watch.cluster.stop()
                    raise

    def _takeovers(self, name: str, turns: int, figures: Figures) -> None:
        watch = self._watches[name]
        for _ in range(turns):
            faults: dict[str, Callable[[Node], object]] = {
                HELPER_KILLED: Node.kill_helper,
                NODE_KILLED: Node.kill_all,
                STOPPED: lambda node: node.shutdown(timeout=60),
            }
            for what, fault in faults.items():
                figures.add(TABLE, name, what, _takeover(watch, fault))
                if figures.get(TABLE, name, what)[-1] == float("inf"):
                    return  # the cluster may never be healthy again


def _takeover(watch: HolderWatch, fault: Callable[[Node], object]) -> float:
    cluster = watch.cluster
    cluster.wait_healthy(timeout=120)
    leader = cluster.wait_leader(timeout=60)
    known = len(watch.holders())
    began = time.monotonic()
    fault(leader)

    def taken() -> Life | None:
        return next(iter(watch.holders()[known:]), None)

    deadline = began + LONGEST
    while not taken() and time.monotonic() < deadline:
        time.sleep(0.02)
    life = taken()
    if not leader.running():
        leader.start()
    return max(0.0, (life.taken or 0) - began) if life else float("inf")


def _ours() -> Cluster:
    link = "/run/ctdb_etcd_lock"
    cluster = Cluster(link, lock_conf={"netbios_name": NAME})
    cluster.namespace.outside(link).symlink_to(Path(PROGRAM).resolve())
    return cluster


def _sambas() -> Cluster:
    """Return Samba's cluster. ctdbd's environment has no SMB_CONF_PATH, so a wrapper sets it."""
    wrapper = "/run/helper"
    cluster = Cluster(wrapper, etcd_args=release.v2_flags())
    outside = cluster.namespace.outside
    outside("/run/smb.conf").write_text(f"[global]\nnetbios name = {NAME}\n")
    outside(wrapper).write_text(f"#!/bin/sh\nexport SMB_CONF_PATH=/run/smb.conf\nexec {SAMBAS_PROGRAM}\n")
    outside(wrapper).chmod(0o755)
    cluster.also_helpers = {(SAMBAS_PROGRAM,)}
    for node in cluster.nodes:
        (node.files / "etcd").write_text(f"host=127.0.24.{node.number}\nport=2379\n")
    return cluster
