# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A machine of its own: one PID, mount and network namespace in which a whole cluster lives.

Promise: whatever ends the process that made it (return, exception, Ctrl-C, SIGKILL), nothing survives: no process,
no mount, no file, no firewall rule. PID 1 reads a pipe of which we hold the only other end; when we are gone it reads
end-of-file and exits, and with PID 1 the kernel kills every process of the namespace and drops its mounts. Files live
on a tmpfs over /run that only the namespace sees: no two namespaces collide, paths stay far below the 108 bytes of a
Unix socket address, and etcd's fsyncs are quick on any disk.

Etcd is an etcd in it; HolderWatch records which process in it held the lock, and when.

Needs root, unshare and nsenter (util-linux), ip, mount and timeout. NamespaceError says what did not work.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import IO, TYPE_CHECKING, Callable, Iterator, Mapping, Optional, Sequence, Union

from .machine import wait_until

if TYPE_CHECKING:
    from .cluster import Cluster, Node

# SIGCHLD is ignored and not handled: then the kernel itself reaps the orphans that are left to PID 1.
_INIT = """
import signal, subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
sys.stdin.read()
"""

# What a daemon gets from a service manager: no HOME, nothing of the tester's shell. CTDB's log is read by UTC.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC"}


class NamespaceError(Exception):
    """The namespace cannot be made, or a command in it failed or took too long."""


@dataclass(frozen=True)
class Process:
    """One process as /proc shows it inside: `state` R, S, D, T, Z...; (pid, started) is never used twice."""

    pid: int
    ppid: int
    state: str
    started: int
    argv: tuple[str, ...]


class Namespace:
    """`run` and `popen` run commands inside, `outside` shows its files to us, `processes` reads its /proc."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise NamespaceError("namespaces need root")
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--net"]
        pipe = subprocess.PIPE
        # A session of its own: a Ctrl-C at the terminal is for us alone, who then take the namespace down.
        self._unshare = subprocess.Popen([*command, sys.executable, "-I", "-c", _INIT], text=True,
                                         stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        assert self._unshare.stdin and self._unshare.stdout and self._unshare.stderr
        if self._unshare.stdout.readline() != "ready\n":
            raise NamespaceError(f"unshare: {self._unshare.stderr.read().strip()}")
        proc = Path("/proc") / str(self._unshare.pid)
        self._root = proc / "root"
        self._enter = ["nsenter", f"--mount={proc}/ns/mnt", f"--net={proc}/ns/net"]
        self._enter += [f"--pid={proc}/ns/pid_for_children"]

    def close(self) -> None:
        """Kill everything inside; returns when it is gone. May be called twice."""
        with self._unshare:
            pass  # the exit of a Popen's context closes the pipes and waits

    def outside(self, path: str) -> Path:
        """The path by which we, outside, reach the absolute `path` of the namespace."""
        return self._root / path.lstrip("/")

    def popen(self, *command: str, env: Optional[Mapping[str, str]] = None,
              output: Union[int, IO[bytes]] = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start a command inside and do not wait. End it by `kill`: the Popen's own pid is that of nsenter, outside."""
        return subprocess.Popen([*self._enter, *command], env={**ENVIRONMENT, **(env or {})}, stdin=subprocess.DEVNULL,
                                stdout=output, stderr=subprocess.STDOUT, start_new_session=True)

    def run(self, *command: str, env: Optional[Mapping[str, str]] = None, timeout: float = 10,
            check: bool = True) -> str:
        """A command's output (both streams); NamespaceError on failure and time-out, unless `check` is false."""
        # timeout(1) runs inside and so ends the command itself; ending nsenter would leave its child running.
        popen = self.popen("timeout", "--kill-after=1", str(timeout), *command, env=env, output=subprocess.PIPE)
        raw, _ = popen.communicate()
        output = raw.decode(errors="replace")
        if check and popen.returncode:
            raise NamespaceError(f"{' '.join(command)}: exit status {popen.returncode}: {output.strip()}")
        return output

    def kill(self, pids: Sequence[int], signal: str = "KILL") -> None:
        """Signal processes by their pids inside; those already gone do not matter."""
        if pids:
            self.run("sh", "-c", f'kill -{signal} "$@"', "sh", *map(str, pids), check=False)

    def drop(self, *match: str) -> Callable[[], object]:
        """Lose every packet that arrives and matches (as iptables says it); the result undoes it."""
        # At INPUT it is silence, as of a pulled cable; at OUTPUT it would be an error to the sender.
        rule = ["INPUT", *match, "-j", "DROP"]
        self.run("iptables", "-w", "-A", *rule)
        return lambda: self.run("iptables", "-w", "-D", *rule)

    def processes(self) -> Iterator[Process]:
        """Every process inside, zombies too, except PID 1."""
        for entry in os.listdir(self.outside("/proc")):
            stat = self._read(entry, "stat").rpartition(b") ")[2].split() if entry.isdigit() and entry != "1" else []
            if stat:
                argv = tuple(self._read(entry, "cmdline").decode(errors="replace").split("\0")[:-1])
                yield Process(int(entry), int(stat[1]), stat[0].decode(), int(stat[19]), argv)

    def has_environment(self, pid: int, name: str, value: str) -> bool:
        """Whether the process was started with `name=value`; false for one that is gone or a zombie."""
        return f"{name}={value}".encode() in self._read(str(pid), "environ").split(b"\0")

    def name(self, pid: int) -> str:
        """What the process calls itself (comm); empty if it is gone."""
        return self._read(str(pid), "comm").decode(errors="replace").strip()

    def _read(self, pid: str, name: str) -> bytes:
        try:
            with open(f"{self._root}/proc/{pid}/{name}", "rb") as file:
                return file.read()
        except (FileNotFoundError, ProcessLookupError):
            return b""  # gone between two looks


class Etcd:
    """`members` etcds at their own defaults plus `args`, listening on every address of the namespace at `ports`."""

    def __init__(self, namespace: Namespace, members: int, args: Sequence[str]) -> None:
        self._namespace = namespace
        self._args = args
        self.ports = [2379 + 100 * i for i in range(members)]

    def start(self) -> None:
        """Start all members and wait until they answer."""
        peers = [f"http://127.0.0.1:{port + 1}" for port in self.ports]
        cluster = ",".join(f"etcd{i}={peer}" for i, peer in enumerate(peers))
        for i, (port, peer) in enumerate(zip(self.ports, peers)):
            command = ["etcd", "--name", f"etcd{i}", "--data-dir", f"/run/etcd{i}", "--initial-cluster", cluster]
            command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            command += ["--listen-client-urls", f"http://0.0.0.0:{port}"]
            command += ["--advertise-client-urls", f"http://127.0.0.1:{port}"]
            daemonise = ["sh", "-c", 'exec >"$0" 2>&1; "$@" &', f"/run/etcd{i}.log"]
            self._namespace.run(*daemonise, *command, *self._args)
        wait_until(lambda: self.ctl("endpoint", "health", check=False).count("is healthy") == len(peers), 20, "etcd")

    def ctl(self, *args: str, check: bool = True) -> str:
        """What etcdctl says, of the v3 API."""
        endpoints = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return self._namespace.run("etcdctl", "--endpoints", endpoints, *args, env={"ETCDCTL_API": "3"}, check=check)


def log_time(line: str) -> Optional[float]:
    """The moment (Unix time) at the head of a line of CTDB's log; None for a line without one."""
    try:
        return datetime.fromisoformat(line.partition(" ")[0]).timestamp()
    except ValueError:
        return None


@dataclass
class Life:
    """A lock helper of node `node`: alive from `born` to `seen`, holder since `taken` (time.monotonic()), if ever."""

    node: int
    pid: int
    by: str  # "ctdb_recoverd" ran it to become leader, "ctdbd" to check the lock in a recovery
    born: float
    seen: float
    taken: Optional[float] = None
    within_reach: float = 0  # seconds alive while its node's way to etcd was not cut


class HolderWatch:
    """Records every lock helper's life and when it took the lock; a context manager around what a test does.

    A helper run with -v holds from the moment at the head of the line ` holding ` in its node's log: when ctdbd wrote
    it, some ms after the fact, later on a busy machine or if ctdbd itself was stopped. Any other helper counts as a
    holder once it has lived WAIT seconds with etcd in reach, for losers are gone by then: its first WAIT seconds go
    unseen. A holder holds until it is dead, even while stopped (SIGSTOP), whatever etcd thinks. Lives are polled: an
    overlap shorter than the interval (and `largest_gap`, on a busy machine) is not seen, and none is ever invented.
    """

    WAIT = 1.5

    def __init__(self, cluster: Cluster, interval: float = 0.015) -> None:
        self.cluster = cluster
        self.interval = interval
        self.largest_gap = 0.0
        self._lives: dict[tuple[int, int], Life] = {}
        self._read = {node.number: 0 for node in cluster.nodes}
        self._last = time.monotonic()
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
        """Every life that held the lock so far, in the order of taking it."""
        if self._error:
            raise self._error
        return sorted((life for life in list(self._lives.values()) if life.taken), key=lambda life: life.taken or 0)

    def overlaps(self) -> list[tuple[Life, Life]]:
        """Pairs of holders that lived at one time: must be empty."""
        return [(a, b) for a, b in combinations(self.holders(), 2) if (b.taken or 0) < a.seen]

    def _watch(self) -> None:
        try:
            while not self._end.wait(self.interval):
                self._poll()
        except Exception as error:  # raised again by holders(), in the test's own thread
            self._error = error

    def _poll(self) -> None:
        # The logs first: a helper whose line is read is then in the census, unless it is dead by now.
        taken = [(node, moment) for node in self.cluster.nodes for moment in self._news(node)]
        now = time.monotonic()
        gap, self._last = now - self._last, now
        self.largest_gap = max(self.largest_gap, gap)
        for process, node in self.cluster.helpers():
            key = (process.pid, process.started)
            if key not in self._lives:
                by = self.cluster.namespace.name(process.ppid)
                self._lives[key] = Life(node.number, process.pid, by, now, now)
            life = self._lives[key]
            life.seen = now
            life.within_reach += 0 if node.number in self.cluster.cut_off else gap
            if life.within_reach > self.WAIT and life.taken is None and " -v" not in node.lock_command:
                life.taken = now
        for node, moment in taken:
            # The line names no pid, but a node makes one attempt at a time. A check that took the lock by mistake, or
            # a life between two polls, is recorded as the moment that it held.
            mine = [life for life in self._lives.values() if life.node == node.number and life.by == "ctdb_recoverd"]
            newest = max(mine, key=lambda life: life.born, default=None)
            if newest and newest.taken is None:
                newest.taken = moment
            else:
                self._lives[(-len(self._lives), 0)] = Life(node.number, 0, "?", moment, moment, moment)

    def _news(self, node: Node) -> Iterator[float]:
        """The moments of the lines ` holding ` that are new in the node's log."""
        try:
            with node.log_file.open("rb") as log:
                log.seek(self._read[node.number])
                lines, _, _ = log.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        if lines:
            self._read[node.number] += len(lines) + 1
        for line in lines.decode(errors="replace").splitlines():
            moment = log_time(line)
            if moment is not None and " holding " in line and "Already holding" not in line:
                yield moment - time.time() + time.monotonic()
