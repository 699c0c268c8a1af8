# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A record of which helper held the cluster's lock and when, to prove that there was never more than one holder.

It watches processes and their answers, never etcd: a process that believes that it has the lock is a holder.  It may
miss an overlap of some milliseconds (see HolderWatch), but never reports one that did not happen.
"""

from __future__ import annotations

import os
import re
import threading
import time
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Iterator, Optional

from .cluster import TAKEN
from .namespace import log_time

if TYPE_CHECKING:
    from .cluster import Cluster
    from .node import Node

# A helper run with -v logs this once it has reported to ctdbd that it holds the lock.
HOLDING = re.compile(r"ctdb_etcd_lock: holding .*, pid (\d+)$")


@dataclass
class Life:
    """A lock helper of node `node`: alive from `born` to `seen`, holder since `taken` (time.monotonic()), if ever."""

    node: int
    pid: int
    by: str  # "ctdb_recoverd" ran it to become leader, "ctdbd" to check the lock in a recovery
    born: float
    seen: float
    taken: Optional[float] = None


class HolderWatch:
    """A recorder of every lock helper's life and of the time it took the lock; a context manager around test steps.

    A helper run with -v holds the lock from the time of its line ` holding ` in its node's log, which has its pid.
    ctdbd writes that time: some ms late, more on a busy machine or if ctdbd itself was stopped. Any other helper holds
    the lock from the time of ctdbd's own line. That line has no pid, so it counts for the node's newest attempt. A
    holder holds the lock until it is dead, even while stopped (SIGSTOP) and whatever etcd's state is. Lives are polled:
    an overlap shorter than the interval (or than `largest_gap`, on a busy machine) is not seen.
    """

    def __init__(self, cluster: Cluster, interval: float = 0.015) -> None:
        self.cluster = cluster
        self.interval = interval
        self.largest_gap = 0.0
        self._lives: dict[tuple[int, int], Life] = {}
        self._read = {node.number: 0 for node in cluster.nodes}
        self._last = self._complete = time.monotonic()
        self._error: Optional[Exception] = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> HolderWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def holders(self) -> list[Life]:
        """Return all helpers that have held the lock so far, in the order of taking it."""
        if self._error:
            raise self._error
        return sorted((life for life in list(self._lives.values()) if life.taken), key=lambda life: life.taken or 0)

    def living(self) -> list[Life]:
        """Return the holders that were alive at the last poll."""
        complete = self._complete
        return [life for life in self.holders() if life.seen >= complete]

    def overlaps(self) -> list[tuple[Life, Life]]:
        """Return the pairs of holders whose times overlap; the list must be empty."""
        return [(a, b) for a, b in combinations(self.holders(), 2) if (b.taken or 0) < a.seen]

    def _watch(self) -> None:
        try:
            while not self._end.wait(self.interval):
                self._poll()
        except Exception as error:  # holders() raises it again in the test's own thread
            self._error = error

    def _poll(self) -> None:
        # Read the logs first: then the list of processes has each helper whose line was read, unless it is dead by now.
        taken = [(node, pid, moment) for node in self.cluster.nodes for pid, moment in self._new_holds(node)]
        now = time.monotonic()
        gap, self._last = now - self._last, now
        self.largest_gap = max(self.largest_gap, gap)
        for process, node in self.cluster.helpers():
            key = (process.pid, process.started)
            if key not in self._lives:
                by = self.cluster.namespace.name(process.ppid)
                own = self.cluster.namespace.own_pid(process.pid)
                self._lives[key] = Life(node.number, own, by, born(process.started), now)
            life = self._lives[key]
            life.seen = now
        for node, pid, moment in taken:
            mine = [
                life
                for life in self._lives.values()
                if life.node == node.number and (life.pid == pid if pid else life.by == "ctdb_recoverd")
            ]
            newest = max((life for life in mine if life.born <= moment), key=lambda life: life.born, default=None)
            if newest:
                newest.taken = newest.taken or moment
            elif pid:  # it lived between two polls: record only the time of its line
                self._lives[pid, -len(self._lives)] = Life(node.number, pid, "?", moment, moment, moment)
        self._complete = now

    def _new_holds(self, node: Node) -> Iterator[tuple[int, float]]:
        """Yield pid (0: none in the line) and time of each new line in the node's log that reports a taken lock."""
        try:
            with node.log_file.open("rb") as log:
                log.seek(self._read[node.number])
                lines, _, _ = log.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        if lines:
            self._read[node.number] += len(lines) + 1
        for line in lines.decode(errors="replace").splitlines():
            holding, moment = HOLDING.search(line), log_time(line)
            if (holding or TAKEN.search(line)) and moment is not None:
                yield int(holding[1]) if holding else 0, moment - time.time() + time.monotonic()


def born(started: int) -> float:
    """Convert /proc's start time, in clock ticks since boot, to the clock of time.monotonic()."""
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - since_boot
