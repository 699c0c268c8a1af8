# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A real CTDB cluster on one machine: N ctdbd nodes and a private etcd in a namespace; all end with the namespace.

Node n (1..N) has the address 127.0.23.n among its peers (its PNN is n - 1) and reaches etcd at 127.0.24.n. The
addresses differ, so that a firewall inside the namespace can cut off exactly one node. holder_watch.py records which
helper held the lock and when.

Each method that waits takes a timeout in seconds and raises AssertionError with the end of every log.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Mapping, Optional, Sequence, TypeVar, cast

from .helper import PROGRAM
from .machine import ENOUGH, wait_until
from .namespace import Namespace, NamespaceEtcd, Process, log_time
from .node import Node

T = TypeVar("T")

NAME = "DEMO"
# Where the program keeps this cluster's lock in etcd.
DIRECTORY = f"/_locks/_ctdb/{NAME}/"

# ctdbd logs these when the cluster lock did not work. "Unable to take cluster lock - contention" is not listed, since
# every loser of an ordinary election logs it.
TROUBLE = re.compile(
    "|".join(
        (
            "Unable to take cluster lock - timeout",  # the helper's `2`, or no answer for 120 s
            "Unable to take cluster lock - unknown error",  # `3`, or end-of-file without a character
            "Unable to get cluster lock, banning node",
            "Cluster lock helper terminated",  # end-of-file after `0`: the lock is lost
            "Cluster lock not held - abort recovery, ban node",
            "Failed cluster lock sanity check",
            "Took recovery lock from daemon during recovery",  # `0` in a recovery's check: nobody held the lock
            "Daemon able to take recovery lock",
            "Unexpected error when testing recovery lock",  # `3` in the check: the recovery fails
            "Time out getting recovery lock",  # `2`, or no answer for 5 s, in the check: the recovery passes
            "Recovery lock configuration inconsistent",
            "High RECLOCK latency",
        )
    ).replace("recovery lock", "(?:recovery|cluster) lock")
)


# ctdbd logs this when a helper has answered `0`.
TAKEN = re.compile(r"(Cluster|Recovery) lock taken successfully$")


class Cluster:
    """A cluster of `nodes` and etcd. A context manager: it starts on entry and leaves nothing behind at the end.

    ctdbd splits `lock_command` at blanks, without quoting. `lock_conf` is added to `host` and `netbios_name` in every
    node's ctdb_etcd_lock.conf. With `machines` each node has its own PID namespace, so that the other nodes cannot see
    its processes, as on separate machines.
    """

    def __init__(
        self,
        lock_command: str,
        nodes: int = 3,
        etcd_members: int = 1,
        etcd_args: Sequence[str] = (),
        lock_conf: Optional[Mapping[str, object]] = None,
        machines: bool = False,
    ) -> None:
        self.size = nodes
        self.machines = machines
        self.namespace = Namespace()
        self.etcd = NamespaceEtcd(self.namespace, etcd_members, etcd_args)
        self.cut_off: set[int] = set()  # numbers of the nodes that are cut off from etcd
        self.also_helpers: set[tuple[str, ...]] = set()  # argv of programs that a wrapper in lock_command may execute
        self._cuts: dict[int, list[Callable[[], object]]] = {}
        self.nodes = [Node(self, n, lock_command) for n in range(1, nodes + 1)]
        for node in self.nodes:
            host = f"127.0.24.{node.number}"
            hosts = host if etcd_members == 1 else ", ".join(f"{host}:{port}" for port in self.etcd.ports)
            node.write_lock_conf({"host": hosts, "netbios_name": NAME, **(lock_conf or {})})

    @classmethod
    def of_program(
        cls, etcd_members: int = 1, machines: bool = False, lock_conf: Optional[Mapping[str, object]] = None
    ) -> Cluster:
        """Three nodes that run the program under test with -v, so that HolderWatch is exact."""
        # The command is a link in the namespace: ctdbd splits it at blanks, which the checkout's path may contain.
        link = "/run/ctdb_etcd_lock"
        cluster = cls(f"{link} -v", etcd_members=etcd_members, machines=machines, lock_conf=lock_conf)
        cluster.namespace.outside(link).symlink_to(Path(PROGRAM).resolve())
        return cluster

    def __enter__(self) -> Cluster:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start etcd and wait until it answers, then start every ctdbd without waiting."""
        self.etcd.start()
        for node in self.nodes:
            node.start()

    def stop(self) -> None:
        """Kill everything and remove the files, logs included."""
        self.namespace.close()

    def cut_from_etcd(self, n: int, answers_only: bool = False) -> None:
        """Drop all packets between node n and etcd; with `answers_only` drop only those from etcd."""
        self.cut_off.add(n)
        self._drop(n, "-s", f"127.0.24.{n}")
        if not answers_only:
            self._drop(n, "-d", f"127.0.24.{n}")

    def cut_from_peers(self, n: int) -> None:
        """Drop all packets between node n and the other nodes."""
        me = f"127.0.23.{n}"
        self._drop(n, "-s", me, "!", "-d", me)
        self._drop(n, "-d", me, "!", "-s", me)

    def _drop(self, n: int, *match: str) -> None:
        self._cuts.setdefault(n, []).append(self.namespace.drop(*match))

    def heal(self, n: int) -> None:
        """Undo every cut of node n."""
        for undo in self._cuts.pop(n, []):
            undo()
        self.cut_off.discard(n)

    def leader(self) -> Optional[Node]:
        """Return the leader that most running nodes report; None if there is none, or it is already dead."""
        running = list(filter(Node.running, self.nodes))
        votes = Counter(self._ask(running, Node.sees_leader)).most_common(1)
        return next((node for node in running if votes and node.number == votes[0][0]), None)

    def _ask(self, nodes: Sequence[Node], question: Callable[[Node], T]) -> list[T]:
        """Ask several nodes in parallel, since each may take a second; return their answers."""
        with ThreadPoolExecutor(max_workers=self.size) as pool:
            return list(pool.map(question, nodes))

    def wait_leader(self, timeout: float = 30, other_than: Optional[Node] = None) -> Node:
        def found() -> Optional[Node]:
            leader = self.leader()
            return leader if leader is not other_than else None

        return self.wait_until(found, "a leader" + (f" other than {other_than}" if other_than else ""), timeout)

    def wait_healthy(self, nodes: Optional[Sequence[Node]] = None, timeout: float = 40) -> None:
        """Wait until each of `nodes` (default: all) reports them all OK under one leader; may be a second late."""
        wanted = self.nodes if nodes is None else nodes
        self.wait_until(lambda: self._healthy(wanted), f"{list(wanted)} to be healthy", timeout)

    def _healthy(self, nodes: Sequence[Node]) -> bool:
        numbers = [node.number for node in nodes]
        leaders = set(self._ask(nodes, lambda node: node.sees_healthy(numbers)))
        return len(leaders) == 1 and None not in leaders

    def recover(self, timeout: float = 30) -> float:
        """Force a recovery and wait for its end; return its seconds by the leader's log, lock checks included.

        Call set_tunable("RerecoveryTimeout", 1) first: by default CTDB refuses a recovery within 10 s of the last one.
        """
        before = {node: len(node.log()) for node in self.nodes}
        # Wait by the logs: without a leader the tool starts the recovery and then waits for ever.
        next(filter(Node.running, self.nodes)).ctdb("recover", timeout=15, check=False)

        def duration() -> Optional[float]:
            for node, seen in before.items():
                lines = node.log()[seen:].splitlines()
                begun = next((log_time(line) for line in lines if "Recovery initiated due to" in line), None)
                ended = next((log_time(line) for line in lines if line.endswith(" Recovery complete")), None)
                if begun and ended:
                    return ended - begun
            return None

        return self.wait_until(duration, "the recovery to be over", timeout)

    def set_tunable(self, name: str, value: int) -> None:
        """Set a tunable on every running node; a node that starts later has CTDB's default."""
        for node in filter(Node.running, self.nodes):
            node.ctdb("setvar", name, str(value))

    def wait_back(self, n: int, timeout: float = 90) -> None:
        """Wait until all nodes are healthy again after node n was cut off from its peers; lift its ban.

        CTDB bans an old leader for 300 s, some time after it sees its peers again.
        """

        def back() -> bool:
            if any(re.search(rf"^pnn:{n - 1} .*BANNED", node.status(), re.M) for node in self.nodes):
                # The command repeats until the node's flags have changed, which may need peers.
                self.nodes[n - 1].ctdb("unban", timeout=5, check=False)
            return self._healthy(self.nodes)

        self.wait_until(back, f"node {n} to be back and all nodes to be healthy", timeout)

    def recoveries_begun(self) -> int:
        """Return the number of recoveries so far on all nodes, including failed ones."""
        return sum(node.log().count("Recovery initiated due to") for node in self.nodes)

    def taken_after(self, moment: float, timeout: float = 40) -> float:
        """Wait until ctdbd on any node logs that the lock is taken; return the seconds since `moment` (Unix time)."""

        def taken() -> Optional[float]:
            lines = [line for node in self.nodes for line in node.log().splitlines() if TAKEN.search(line)]
            return min((log_time(line) or 0 for line in lines if (log_time(line) or 0) > moment), default=None)

        return self.wait_until(taken, "the lock to be taken again", timeout) - moment

    def lock_keys(self) -> list[tuple[str, int, int]]:
        """Return the program's keys in etcd, each with the PNN and the pid in its value."""
        values = {key: json.loads(value) for key, value in self.etcd.keys(DIRECTORY).items()}
        return [(key, value["pnn"], value["pid"]) for key, value in values.items()]

    def etcd_port_of(self, pid: int) -> int:
        """Return the port of the etcd member to which a process is connected."""
        sockets = self.namespace.run("ss", "-Htnp", "state", "established")
        # A helper has two connections to its member: one for requests and one for its watch.
        ports = set(re.findall(rf":(\d+) +users:.*\bpid={pid},", sockets))
        if len(ports) != 1:
            raise AssertionError(f"process {pid} is not connected to one member of etcd:\n{sockets}")
        return int(ports.pop())

    def log_lines_of_trouble(self) -> list[str]:
        """Return the lines of all nodes' logs that match TROUBLE, in order of time."""
        return sorted(line for node in self.nodes for line in node.log().splitlines() if TROUBLE.search(line))

    def helpers(self) -> list[tuple[Process, Node]]:
        """Return every live lock helper that a ctdbd has started, with its node."""
        words = {tuple(node.lock_command.split()) for node in self.nodes} | self.also_helpers
        # A script's argv begins with its interpreter, so compare only the end of argv.
        alike = [p for p in self.namespace.processes() if any(p.argv[-len(w) :] == w for w in words)]
        # A helper that forks counts once. CTDB's fcntl helper forks to watch the file.
        first = [p for p in alike if p.ppid not in {parent.pid for parent in alike}]
        return [(p, node) for p in first for node in self.nodes if node.owns(p.pid)]

    def wait_until(self, condition: Callable[[], Optional[T]], what: str, timeout: float = ENOUGH) -> T:
        """Return the first true value of `condition`; after `timeout` s raise AssertionError with all logs' ends."""
        try:
            return cast(T, wait_until(condition, what, timeout, pause=0.05))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.last_words()}") from None

    def last_words(self, lines: int = 15) -> str:
        """Return the end of every node's log, for the message of a failing test."""
        return "\n".join(f"--- {node}\n" + "\n".join(node.log().splitlines()[-lines:]) for node in self.nodes)
