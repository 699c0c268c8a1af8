# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""One node of a real CTDB cluster: a ctdbd with its own files, addresses and log; see cluster.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Collection, Mapping, Optional

if TYPE_CHECKING:
    from .cluster import Cluster

BROADCAST = 2.5  # s: a leader broadcasts every second; without a leader the ctdb tool would wait long


class Node:
    """One ctdbd. It runs `lock_command` for the lock; a change applies from the next start."""

    def __init__(self, cluster: Cluster, number: int, lock_command: str) -> None:
        self.cluster = cluster
        self.number = number
        self.pnn = number - 1
        self.lock_command = lock_command
        self.base = f"/run/node{number}"
        self.files: Path = cluster.namespace.outside(self.base)
        self.log_file: Path = self.files / "log"
        self._env = {"CTDB_BASE": self.base, "CTDB_TEST_MODE": "yes"}
        # In test mode CTDB 4.25 aborts if this directory of its own programs is not set (4.22 did not).
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
        """Replace the node's whole ctdb_etcd_lock.conf atomically."""
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
        # In its own PID namespace ctdbd needs a process 1 that stays when it daemonises, and that reaps.
        alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        alone += ["sh", "-c", 'trap "" CHLD; (trap - CHLD; exec ctdbd); exec sleep infinity']
        daemonise = ["sh", "-c", '"$@" >/dev/null 2>&1 &', "sh", *alone]
        self.cluster.namespace.run(*(daemonise if self.cluster.machines else ["ctdbd"]), env=self._env)

    def shutdown(self, timeout: float = 20) -> None:
        """Stop the node cleanly by `ctdb shutdown`; wait until no process of it is left."""
        self.ctdb("shutdown", timeout=timeout)
        self.cluster.wait_until(lambda: not self.pids(), f"{self} to be gone", timeout)

    def kill_all(self) -> None:
        """Send SIGKILL to every process of the node, helpers included; unlike a power cut this closes connections.

        All are stopped first: a helper that outlived ctdbd for a moment would release the lock.
        """

        def dead() -> bool:
            for signal in ("STOP", "KILL"):
                self.cluster.namespace.kill(self.pids(), signal)
            return not self.pids()

        self.cluster.wait_until(dead, f"{self} to be dead")

    def pids(self) -> list[int]:
        """Return the pids inside the namespace of live processes with this node's CTDB_BASE in their environment."""
        return [process.pid for process in self.cluster.namespace.processes() if self.owns(process.pid)]

    def owns(self, pid: int) -> bool:
        return self.cluster.namespace.has_environment(pid, "CTDB_BASE", self.base)

    def running(self) -> bool:
        return bool(self.pids())

    def helper_pids(self) -> list[int]:
        """Return the pids of this node's lock helpers: the holder and, for a moment, the check of each recovery."""
        return [process.pid for process, node in self.cluster.helpers() if node is self]

    def kill_helper(self, signal: str = "KILL") -> None:
        self.cluster.namespace.kill(self.helper_pids(), signal)

    def log(self) -> str:
        """Return all that ctdbd has logged since the cluster was made, across restarts."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def ctdb(self, *args: str, timeout: float = 10, check: bool = True) -> str:
        """Run the ctdb tool on this node; return its output."""
        return self.cluster.namespace.run("ctdb", *args, env=self._env, timeout=timeout, check=check)

    def ctdb_etcd_lock(self, *args: str) -> str:
        """Run the program under test as an operator on this node; return its output. The exit status must be 0."""
        return self.cluster.namespace.run(self.lock_command.split()[0], *args, env=self._env)

    def status(self) -> str:
        """Return the output of `ctdb status`, even if it is an error."""
        return self.ctdb("status", timeout=BROADCAST, check=False)

    def sees_healthy(self, numbers: Collection[int]) -> Optional[int]:
        """Return the leader's number if `ctdb status` shows no recovery and all these nodes as OK, else None."""
        status = self.status()
        okay = {int(pnn) + 1 for pnn in re.findall(r"^pnn:(\d+) \S+ +OK", status, re.M)}
        leader = re.search(r"^(?:Leader|Recovery master):(\d+)$", status, re.M)
        if leader and "Recovery mode:NORMAL" in status and okay.issuperset(numbers):
            return int(leader[1]) + 1
        return None

    def sees_leader(self) -> Optional[int]:
        """Return the leader's number; None if no leader broadcasts: the ctdb tool waits for the next broadcast."""
        answer = self.ctdb("leader", timeout=BROADCAST, check=False)
        if "Unknown command" in answer:
            answer = self.ctdb("recmaster", check=False)  # before CTDB 4.16
        return int(answer) + 1 if answer.strip().isdigit() else None
