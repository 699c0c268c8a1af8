#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Show the lock at work in a real cluster, in plain words, with the seconds since the start: `make demo`.

An etcd and three CTDB nodes start in a private namespace. One node takes the lock and dies, another takes over, the
dead one comes back. The exit status is 0 only if all of that was really seen. Nothing is left behind in any case.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time

from tests.support.cluster import DIRECTORY, Cluster
from tests.support.holder_watch import HolderWatch, Life
from tests.support.namespace import NamespaceError
from tests.support.node import Node

BEGUN = time.monotonic()
COLOURS = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def colour(code: int, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if COLOURS else text


def step(text: str) -> None:
    print(f"\n{colour(2, f'{time.monotonic() - BEGUN:5.1f} s')}  {colour(1, text)}", flush=True)


def seen(text: str) -> None:
    print(f"{colour(2, f'{time.monotonic() - BEGUN:5.1f} s')}    {colour(32, 'ok')}  {text}", flush=True)


def quote(text: str) -> None:
    width = shutil.get_terminal_size((110, 24)).columns - 14
    for line in text.strip().splitlines():
        print(colour(2, f"           | {line if len(line) <= width else line[:width - 3] + '...'}"), flush=True)


def expect(condition: object, what: str) -> None:
    if not condition:
        raise AssertionError(f"not as it should be: {what}")


def show_status(node: Node) -> None:
    """Print the lines of `ctdb status` that matter here."""
    wanted = ("pnn:", "Recovery mode:", "Leader:", "Recovery master:")
    quote("\n".join(line for line in node.ctdb("status").splitlines() if line.startswith(wanted)))


def show_lock(node: Node, leader: Node) -> None:
    """Print the output of our --status on a node, which must name the leader."""
    text = node.ctdb_etcd_lock("--status")
    quote(f"$ ctdb_etcd_lock --status\n{text}")
    expect(text.startswith("OK: ") and f"pnn {leader.pnn}," in text, f"--status names {leader}")


def show_key(cluster: Cluster, leader: Node) -> str:
    """Print the lock's key in etcd, the only one, which must be `leader`'s; return its name."""
    keys = cluster.etcd.keys(DIRECTORY)
    quote(f"$ etcdctl get --prefix {DIRECTORY}\n" + "\n".join(f"{key}\n{value}" for key, value in keys.items()))
    expect(len(keys) == 1, "exactly one key in the lock's directory in etcd")
    ((key, value),) = keys.items()
    expect(json.loads(value)["pnn"] == leader.pnn, f"the key in etcd is {leader}'s")
    return key


def next_holder(cluster: Cluster, watch: HolderWatch) -> Life:
    """Wait until the lock is taken again; return the new holder."""
    before = len(watch.holders())
    cluster.wait_until(lambda: len(watch.holders()) > before, "the lock to be taken again")
    return watch.holders()[-1]


def demonstrate(cluster: Cluster, watch: HolderWatch) -> None:
    step("CTDB elects a leader: whoever takes the cluster lock, which our helper keeps in etcd.")
    cluster.wait_healthy()
    first = cluster.wait_leader()
    expect([life.node for life in watch.holders()] == [first.number], "one holder of the lock so far, the leader")
    seen(f"All three nodes are healthy, {first} is the leader.")
    show_status(first)
    show_lock(first, first)
    key = show_key(cluster, first)
    seen(f"The lock is a key in etcd, under a lease that {first} renews.")

    step(f"Only the helper of {first} is killed: CTDB's log says so, and another one proves that it is dead.")
    lost = time.monotonic()
    first.kill_helper()
    taken = next_holder(cluster, watch)
    seen(f"Node {taken.node} took the lock {(taken.taken or 0) - lost:.1f} s later.")
    cluster.wait_healthy()
    first = cluster.wait_leader()
    expect(first.number == taken.node, "the leader is the node that took the lock")
    key = show_key(cluster, first)

    step(f"The leader is lost: {first} is gone with all its processes, of which the others can prove nothing.")
    lost = time.monotonic()
    first.kill_all()
    others = [node for node in cluster.nodes if node is not first]
    taken = next_holder(cluster, watch)
    seen(f"Node {taken.node} took the lock {(taken.taken or 0) - lost:.1f} s later, once {first}'s lease had run out.")
    second = cluster.wait_leader(other_than=first)
    cluster.wait_healthy(others)
    expect(second.number == taken.node, "the new leader is the node that took the lock")
    seen(f"{second} is the new leader, {others[0]} and {others[1]} are healthy.".capitalize())
    show_status(second)
    show_lock(second, second)
    expect(show_key(cluster, second) != key, "the key in etcd is a new one")

    step(f"{first} is switched on again.".capitalize())
    first.start()
    cluster.wait_healthy()
    expect(cluster.wait_leader() is second, f"{second} is still the leader")
    expect(not first.helper_pids() and second.helper_pids(), f"{second} alone holds the lock")
    show_status(first)
    seen(f"It is back as an ordinary member: {second} leads as before.")
    expect(not watch.overlaps(), "never two holders at one time")
    seen("At no time did two nodes hold the lock.")
    for node in (first, second):
        quote(f"what the helper wrote to CTDB's log on {node} about taking the lock:")
        # Omit the date, and cut the time to milliseconds.
        quote("\n".join(f"  {line[11:23]} {line[33:]}" for line in node.log().splitlines() if " holding " in line))


def main() -> int:
    if os.geteuid() != 0:
        print("the demo needs root for namespaces of its own: run it with sudo", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        step("Starting a private etcd and three CTDB nodes in a namespace of their own; this machine stays as it is.")
        cluster = Cluster.of_program(machines=True)
        with cluster, HolderWatch(cluster) as watch:
            seen("etcd answers, three ctdbd are running.")
            demonstrate(cluster, watch)
            step("Cleaning up.")
    except KeyboardInterrupt:
        print("\ninterrupted; all is cleaned up", file=sys.stderr)
        return 130
    except (AssertionError, NamespaceError, OSError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    seen("Nothing is left: no process, no file, no namespace.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
