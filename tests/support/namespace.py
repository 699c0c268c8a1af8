# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A machine of its own: one PID, mount and network namespace in which a whole cluster lives.

Promise: whatever ends the process that made it (return, exception, Ctrl-C, SIGKILL), nothing survives: no process,
no mount, no file, no firewall rule. PID 1 reads a pipe of which we hold the only other end; when we are gone it reads
end-of-file and exits, and with PID 1 the kernel kills every process of the namespace and drops its mounts. Files live
on a tmpfs over /run that only the namespace sees: no two namespaces collide, paths stay far below the 108 bytes of a
Unix socket address, and etcd's fsyncs are quick on any disk.

NamespaceEtcd is an etcd in it.

Needs root, unshare and nsenter (util-linux), ip, mount and timeout. NamespaceError says what did not work.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Callable, Iterator, Mapping, Optional, Sequence, Union

from . import release
from .machine import wait_until
from .member import arguments

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
        self._unshare = subprocess.Popen(
            [*command, sys.executable, "-I", "-c", _INIT],
            text=True,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
        )
        assert self._unshare.stdin and self._unshare.stdout and self._unshare.stderr
        if self._unshare.stdout.readline() != "ready\n":
            raise NamespaceError(f"unshare: {self._unshare.stderr.read().strip()}")
        proc = Path("/proc") / str(self._unshare.pid)
        self._root = proc / "root"
        self._enter = ["nsenter", f"--mount={proc}/ns/mnt", f"--net={proc}/ns/net"]
        self._enter += [f"--pid={proc}/ns/pid_for_children"]
        # Without these nsenter would lead out of a chroot, to the machine's own files.
        self._enter += [f"--root={proc}/root", f"--wd={proc}/root"]

    def close(self) -> None:
        """Kill everything inside; returns when it is gone. May be called twice."""
        with self._unshare:
            pass  # the exit of a Popen's context closes the pipes and waits

    def outside(self, path: str) -> Path:
        """The path by which we, outside, reach the absolute `path` of the namespace."""
        return self._root / path.lstrip("/")

    def popen(
        self, *command: str, env: Optional[Mapping[str, str]] = None, output: Union[int, IO[bytes]] = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start a command inside and do not wait. End it by `kill`: the Popen's own pid is that of nsenter, outside."""
        return subprocess.Popen(
            [*self._enter, *command],
            env={**ENVIRONMENT, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(
        self, *command: str, env: Optional[Mapping[str, str]] = None, timeout: float = 10, check: bool = True
    ) -> str:
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

    def own_pid(self, pid: int) -> int:
        """The process's number in its own PID namespace, where that is one further inside; 0 if it is gone."""
        numbers = re.search(rb"^NSpid:.*?(\d+)$", self._read(str(pid), "status"), re.M)
        return int(numbers[1]) if numbers else 0

    def name(self, pid: int) -> str:
        """What the process calls itself (comm); empty if it is gone."""
        return self._read(str(pid), "comm").decode(errors="replace").strip()

    def _read(self, pid: str, name: str) -> bytes:
        try:
            with open(f"{self._root}/proc/{pid}/{name}", "rb") as file:
                return file.read()
        except (FileNotFoundError, ProcessLookupError):
            return b""  # gone between two looks


class NamespaceEtcd:
    """`members` etcds at their own defaults plus `args`, listening on every address of the namespace at `ports`.

    From outside they are reached only by commands that run inside. `program`, `args` and `protocol` may change between
    a member's end and its next start; `credentials` are etcdctl's arguments for TLS and login.
    """

    def __init__(self, namespace: Namespace, members: int, args: Sequence[str]) -> None:
        self._namespace = namespace
        self.program = release.program()
        self.args = args
        self.protocol = "http"
        self.credentials: list[str] = []
        self.ports = [2379 + 100 * i for i in range(members)]
        self._first = list(self.ports)

    def start(self) -> None:
        """Start all members and wait until they answer."""
        for port in self.ports:
            self.start_member(port)
        self.wait_healthy()

    def start_member(self, port: int) -> None:
        """Start the member that listens at `port`, for the first time or with the data it had; not waited for."""
        peers = {f"etcd{p}": f"http://127.0.0.1:{p + 1}" for p in self.ports}
        name = f"etcd{port}"
        cluster = ",".join(f"{member}={peer}" for member, peer in peers.items())
        client, listen = (f"{self.protocol}://{host}:{port}" for host in ("127.0.0.1", "0.0.0.0"))
        command = [self.program, *arguments(name, f"/run/{name}", client, peers[name], cluster, listen)]
        if port not in self._first:
            command += ["--initial-cluster-state", "existing"]
        daemonise = ["sh", "-c", 'exec >>"$0" 2>&1; "$@" &', f"/run/{name}.log"]
        self._namespace.run(*daemonise, *command, *self.args)

    def kill_member(self, port: int) -> None:
        """SIGKILL the member that listens at `port`."""
        self._namespace.kill(self._pids(port))

    def stop_member(self, port: int) -> None:
        """SIGTERM, as a service manager stops it, and wait for its end: a leader hands over first."""
        self._namespace.kill(self._pids(port), "TERM")
        wait_until(lambda: not self._pids(port), 30, f"the end of the etcd at {port}")

    def replace_member(self, port: int, new: int) -> None:
        """Take a member out of the cluster for good, and put one at another port in its place."""
        members = [line.split(", ") for line in self.ctl("member", "list").splitlines()]
        number = next(one for one, _, name, *_ in members if name == f"etcd{port}")
        at = self.ports.index(port)
        # Not asked of itself: it may stop before it answers.
        del self.ports[at]
        self.ctl("member", "remove", number)
        self.kill_member(port)
        added = f"etcd{new}", f"--peer-urls=http://127.0.0.1:{new + 1}"
        # Refused for as long as the members do not all know each other for 5 s.
        wait_until(lambda: "added to cluster" in self.ctl("member", "add", *added, check=False), 30, "a member to add")
        self.ports.insert(at, new)
        self.start_member(new)
        self.wait_healthy()

    def _pids(self, port: int) -> list[int]:
        name = ("--name", f"etcd{port}")
        return [process.pid for process in self._namespace.processes() if process.argv[1:3] == name]

    def wait_healthy(self, timeout: float = 30) -> None:
        """Until every member answers."""

        def healthy() -> bool:
            return self.ctl("endpoint", "health", check=False).count("is healthy") == len(self.ports)

        wait_until(healthy, timeout, "all members of etcd to be healthy")

    def ctl(self, *args: str, check: bool = True, typed: str = "") -> str:
        """What etcdctl says, of the v3 API, when this line is typed into it."""
        endpoints = ",".join(f"{self.protocol}://127.0.0.1:{port}" for port in self.ports)
        type_in = ["sh", "-c", 'echo "$0" | "$@"', typed]
        command = [*type_in, "etcdctl", "--endpoints", endpoints, *self.credentials, *args]
        return self._namespace.run(*command, env={"ETCDCTL_API": "3"}, check=check)

    def keys(self, prefix: str) -> dict[str, str]:
        """The keys that begin so, and their values; newlines in neither."""
        lines = self.ctl("get", "--prefix", prefix).splitlines()
        return dict(zip(lines[::2], lines[1::2]))


def log_time(line: str) -> Optional[float]:
    """The moment (Unix time) at the head of a line of CTDB's log; None for a line without one."""
    try:
        return datetime.fromisoformat(line.partition(" ")[0]).timestamp()
    except ValueError:
        return None
