# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of how soon a real cluster has its lock again, compared with CTDB's fcntl helper after the same loss."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from tests.support.cluster import Cluster
from tests.support.holder_watch import HolderWatch

pytestmark = pytest.mark.slow

TTL = 9
FCNTL = "/usr/libexec/ctdb/ctdb_mutex_fcntl_helper /run/lock_file"


def lose(cluster, what):
    """Lose the leader or only its helper; return the seconds until the lock was taken again, by ctdbd's own log."""
    leader = cluster.wait_leader()
    lost = time.time()
    if what == "helper":
        leader.kill_helper()
    else:
        leader.kill_all()
    return cluster.taken_after(lost)


@pytest.mark.parametrize(
    "what, machines, most, by",
    [
        ("helper", False, 6, "its process is gone"),
        # CTDB notices the loss of its leader after 5 s.
        ("leader", False, 10, "its process is gone"),
        ("leader", True, TTL + 6, "waiting for the end of a lease"),
    ],
    ids=["the helper is killed", "all of the leader's processes are killed", "all on the leader's machine is killed"],
)
def test_lock_is_taken_again_about_as_soon_as_with_the_fcntl_helper(what, machines, most, by):
    with ExitStack() as stack:
        ours = stack.enter_context(Cluster.of_program(machines=machines))
        theirs = stack.enter_context(Cluster(FCNTL, machines=machines))
        watch = stack.enter_context(HolderWatch(ours))
        for cluster in (ours, theirs):
            cluster.wait_healthy(timeout=90)
        theirs_took, ours_took = lose(theirs, what), lose(ours, what)
        print(f"\n{what} lost, taken again after {ours_took:.2f} s, with the fcntl helper after {theirs_took:.2f} s")
        print(ours.last_words(30))
        assert ours_took < most
        assert by in "".join(node.log() for node in ours.nodes)
        alive = [node for node in ours.nodes if node.running()]
        ours.wait_healthy(alive, timeout=90)
        assert not watch.overlaps()
