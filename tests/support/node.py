# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""One node of a real CTDB cluster: a ctdbd with files, addresses and a log of its own; see cluster.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Collection, Mapping, Optional

if TYPE_CHECKING:
    from .cluster import Cluster

BROADCAST = 2.5  # s: a leader says every second that he is; without one the tool would wait for long


class Node:
    """One ctdbd. `lock_command` is what it runs for the lock; a change counts from the next start."""

    def __init__(self, cluster: Cluster, number: int, lock_command: str) -> None:
        self.cluster = cluster
        self.number = number
        self.pnn = number - 1
        self.lock_command = lock_command
        self.base = f"/run/node{number}"
        self.files: Path = cluster.namespace.outside(self.base)
        self.log_file: Path = self.files / "log"
        self._env = {"CTDB_BASE": self.base, "CTDB_TEST_MODE": "yes"}
        # In test mode CTDB 4.25 looks for its own programs there, and aborts if it is not set (4.22 did not).
        self._env["CTDB_TEST_HELPER_BINDIR"] = "/usr/libexec/ctdb"
        for name in "run var share events/notification events/legacy db/volatile db/persistent db/state".split():
            (self.files / name).mkdir(parents=True)
        for name in ("notify.sh", "events/legacy/00.nothing.script"):
            (self.files / name).write_text("#!/bin/sh\nexit 0\n")
            (self.files / name).chmod(0o755)
        (self.files / "nodes").write_text("".join(f"127.0.23.{n}\n" for n in range(1, cluster.size + 1)))

    def __repr__(self) -> str:
        return f"node {self.number}"

    def write_lock_conf(self, options: Mapping[str, object]) -> None:
        """The whole of the node's ctdb_etcd_lock.conf, in the place of the old one at one moment."""
        text = "".join(f"{key} = {value}\n" for key, value in options.items())
        (self.files / "new.conf").write_text(text)
        (self.files / "new.conf").chmod(0o600)
        (self.files / "new.conf").rename(self.files / "ctdb_etcd_lock.conf")

    def start(self) -> None:
        """Start ctdbd, which daemonises; `Cluster.wait_healthy` waits until it takes part."""
        (self.files / "ctdb.conf").write_text(
            f"[logging]\n  location = file:{self.base}/log\n  log level = NOTICE\n"
            f"[cluster]\n  cluster lock = !{self.lock_command}\n  node address = 127.0.23.{self.number}\n"
            f"[database]\n  volatile database directory = {self.base}/db/volatile\n"
            f"  persistent database directory = {self.base}/db/persistent\n"
            f"  state database directory = {self.base}/db/state\n"
            "[failover]\n  disabled = true\n"
        )
        # In a PID namespace of its own ctdbd needs a process 1 that outlives it as a daemon, and reaps.
        alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        alone += ["sh", "-c", 'trap "" CHLD; (trap - CHLD; exec ctdbd); exec sleep infinity']
        daemonise = ["sh", "-c", '"$@" >/dev/null 2>&1 &', "sh", *alone]
        self.cluster.namespace.run(*(daemonise if self.cluster.machines else ["ctdbd"]), env=self._env)

    def shutdown(self, timeout: float = 20) -> None:
        """The clean way: `ctdb shutdown`; returns when no process of the node is left."""
        self.ctdb("shutdown", timeout=timeout)
        self.cluster.wait_until(lambda: not self.pids(), timeout, f"{self} to be gone")

    def kill_all(self) -> None:
        """SIGKILL for every process of the node, its helpers among them; unlike a power cut it closes connections."""

        def dead() -> bool:
            self.cluster.namespace.kill(self.pids())
            return not self.pids()

        self.cluster.wait_until(dead, 5, f"{self} to be dead")

    def pids(self) -> list[int]:
        """Every live process that has this node's CTDB_BASE in its environment (pids inside the namespace)."""
        return [process.pid for process in self.cluster.namespace.processes() if self.owns(process.pid)]

    def owns(self, pid: int) -> bool:
        return self.cluster.namespace.has_environment(pid, "CTDB_BASE", self.base)

    def running(self) -> bool:
        return bool(self.pids())

    def helper_pids(self) -> list[int]:
        """The lock helpers that ctdbd runs for this node now: the holder, and for a moment each recovery's check."""
        return [process.pid for process, node in self.cluster.helpers() if node is self]

    def kill_helper(self, signal: str = "KILL") -> None:
        self.cluster.namespace.kill(self.helper_pids(), signal)

    def log(self) -> str:
        """All that ctdbd has logged since the cluster was made, over restarts."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def ctdb(self, *args: str, timeout: float = 10, check: bool = True) -> str:
        """What the ctdb tool says to this node."""
        return self.cluster.namespace.run("ctdb", *args, env=self._env, timeout=timeout, check=check)

    def ctdb_etcd_lock(self, *args: str) -> str:
        """What the program under test says when an operator runs it on this node; its exit status must be 0."""
        return self.cluster.namespace.run(self.lock_command.split()[0], *args, env=self._env)

    def status(self) -> str:
        """What `ctdb status` says, be it an error."""
        return self.ctdb("status", timeout=BROADCAST, check=False)

    def sees_healthy(self, numbers: Collection[int]) -> Optional[int]:
        """By `ctdb status`: the leader's number if recovery is over and all these nodes are OK, else None."""
        status = self.status()
        okay = {int(pnn) + 1 for pnn in re.findall(r"^pnn:(\d+) \S+ +OK", status, re.M)}
        leader = re.search(r"^(?:Leader|Recovery master):(\d+)$", status, re.M)
        if leader and "Recovery mode:NORMAL" in status and okay.issuperset(numbers):
            return int(leader[1]) + 1
        return None

    def sees_leader(self) -> Optional[int]:
        """The number of the leader, None if nobody says that he is: CTDB's tool waits for the next broadcast."""
        answer = self.ctdb("leader", timeout=BROADCAST, check=False)
        if "Unknown command" in answer:
            answer = self.ctdb("recmaster", check=False)  # before CTDB 4.16
        return int(answer) + 1 if answer.strip().isdigit() else None
