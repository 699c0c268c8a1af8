# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A PID, mount and network namespace that acts as a separate machine for a whole cluster, and an etcd cluster in it.

Promise: however the process that made it ends (return, exception, Ctrl-C, SIGKILL), no process, mount, file or firewall
rule survives. PID 1 reads a pipe whose only write end is ours. When we are gone, it reads end-of-file and exits. The
kernel then kills every process of the namespace and drops its mounts. Files are on a tmpfs over /run that only the
namespace sees: no two namespaces collide, paths stay far below the 108 bytes of a Unix socket address, and etcd's
fsyncs are quick on any disk.

This needs root, unshare and nsenter (util-linux), ip, mount and timeout. NamespaceError reports what did not work.
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

# PID 1 ignores SIGCHLD, so that the kernel itself reaps the orphans that become children of PID 1.
_INIT = """
import signal, subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
sys.stdin.read()
"""

# The environment that a service manager gives a daemon: no HOME, nothing from the tester's shell. With UTC the tests
# can read the times in CTDB's log.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC"}


class NamespaceError(Exception):
    """The namespace cannot be made, or a command in it failed or took too long."""


@dataclass(frozen=True)
class Process:
    """One process in the namespace's /proc. `state` is R, S, D, T, Z...; (pid, started) is unique."""

    pid: int
    ppid: int
    state: str
    started: int
    argv: tuple[str, ...]


class Namespace:
    """The namespace: `run` and `popen` run commands inside, `outside` maps its paths, `processes` reads its /proc."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise NamespaceError("namespaces need root")
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--net"]
        pipe = subprocess.PIPE
        # In its own session it gets no Ctrl-C from the terminal; only we do, and then end the namespace.
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
        # Without these nsenter would leave a chroot and see the machine's own files.
        self._enter += [f"--root={proc}/root", f"--wd={proc}/root"]

    def close(self) -> None:
        """Kill everything inside and wait until it is gone. A second call does nothing."""
        with self._unshare:
            pass  # the end of a Popen's context closes the pipes and waits

    def outside(self, path: str) -> Path:
        """Return the path outside of the file at the absolute `path` inside."""
        return self._root / path.lstrip("/")

    def popen(
        self, *command: str, env: Optional[Mapping[str, str]] = None, output: Union[int, IO[bytes]] = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start a command inside and do not wait. End it with `kill`: the Popen's pid is that of nsenter, outside."""
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
        """Run a command; return its output (both streams). With `check` a failure or timeout is a NamespaceError."""
        # timeout(1) runs inside and ends the command itself. Killing nsenter would leave its child running.
        popen = self.popen("timeout", "--kill-after=1", str(timeout), *command, env=env, output=subprocess.PIPE)
        raw, _ = popen.communicate()
        output = raw.decode(errors="replace")
        if check and popen.returncode:
            raise NamespaceError(f"{' '.join(command)}: exit status {popen.returncode}: {output.strip()}")
        return output

    def kill(self, pids: Sequence[int], signal: str = "KILL") -> None:
        """Signal processes by their pids inside; ignore those that are gone."""
        if pids:
            self.run("sh", "-c", f'kill -{signal} "$@"', "sh", *map(str, pids), check=False)

    def drop(self, *match: str) -> Callable[[], object]:
        """Drop every incoming packet that matches (arguments of iptables); return a function that undoes this."""
        # At INPUT packets vanish as with a pulled cable; at OUTPUT the sender would get an error.
        rule = ["INPUT", *match, "-j", "DROP"]
        self.run("iptables", "-w", "-A", *rule)
        return lambda: self.run("iptables", "-w", "-D", *rule)

    def processes(self) -> Iterator[Process]:
        """Yield every process inside except PID 1, including zombies."""
        for entry in os.listdir(self.outside("/proc")):
            stat = self._read(entry, "stat").rpartition(b") ")[2].split() if entry.isdigit() and entry != "1" else []
            if stat:
                argv = tuple(self._read(entry, "cmdline").decode(errors="replace").split("\0")[:-1])
                yield Process(int(entry), int(stat[1]), stat[0].decode(), int(stat[19]), argv)

    def has_environment(self, pid: int, name: str, value: str) -> bool:
        """Return whether the process was started with `name=value`; false if it is gone or a zombie."""
        return f"{name}={value}".encode() in self._read(str(pid), "environ").split(b"\0")

    def own_pid(self, pid: int) -> int:
        """Return the process's pid in its innermost PID namespace; 0 if it is gone."""
        numbers = re.search(rb"^NSpid:.*?(\d+)$", self._read(str(pid), "status"), re.M)
        return int(numbers[1]) if numbers else 0

    def name(self, pid: int) -> str:
        """Return the process's name (comm); empty if it is gone."""
        return self._read(str(pid), "comm").decode(errors="replace").strip()

    def _read(self, pid: str, name: str) -> bytes:
        try:
            with open(f"{self._root}/proc/{pid}/{name}", "rb") as file:
                return file.read()
        except (FileNotFoundError, ProcessLookupError):
            return b""  # the process is gone


class NamespaceEtcd:
    """An etcd cluster of `members` members with default flags plus `args`, listening at `ports` on all addresses.

    Only commands that run inside reach them. `program`, `args` and `protocol` may change between a member's end and its
    next start. `credentials` are etcdctl's arguments for TLS and login.
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
        """Start the member that listens at `port`, with its data if it has run before; do not wait."""
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
        """Send SIGKILL to the member that listens at `port`, and wait for its end."""
        self._end_member(port, "KILL")

    def stop_member(self, port: int) -> None:
        """Send SIGTERM, as a service manager does, and wait for the member's end. A leader hands over first."""
        self._end_member(port, "TERM")

    def _end_member(self, port: int, signal: str) -> None:
        self._namespace.kill(self._pids(port), signal)
        # Until then a new one could not listen.
        wait_until(lambda: not self._pids(port), f"the end of the etcd at {port}")

    def replace_member(self, port: int, new: int) -> None:
        """Remove a member from the cluster and add a new one at another port."""
        members = [line.split(", ") for line in self.ctl("member", "list").splitlines()]
        number = next(one for one, _, name, *_ in members if name == f"etcd{port}")
        at = self.ports.index(port)
        # Do not ask the member to remove itself: it may stop before it answers.
        del self.ports[at]
        self.ctl("member", "remove", number)
        self.kill_member(port)
        added = f"etcd{new}", f"--peer-urls=http://127.0.0.1:{new + 1}"

        def is_added() -> bool:
            # etcd refuses this until all members have been connected to each other for 5 s. What had no answer in time
            # may have been done.
            answer = self.ctl("member", "add", *added, check=False)
            return "added to cluster" in answer or "already exists" in answer

        wait_until(is_added, "a member to add")
        self.ports.insert(at, new)
        self.start_member(new)
        self.wait_healthy()

    def _pids(self, port: int) -> list[int]:
        name = ("--name", f"etcd{port}")
        return [process.pid for process in self._namespace.processes() if process.argv[1:3] == name]

    def wait_healthy(self, timeout: float = 30) -> None:
        """Wait until every member is healthy."""

        def healthy() -> bool:
            return self.ctl("endpoint", "health", check=False).count("is healthy") == len(self.ports)

        wait_until(healthy, "all members of etcd to be healthy", timeout)

    def ctl(self, *args: str, check: bool = True, typed: str = "") -> str:
        """Run etcdctl for the v3 API with the line `typed` on stdin; return its output."""
        endpoints = ",".join(f"{self.protocol}://127.0.0.1:{port}" for port in self.ports)
        type_in = ["sh", "-c", 'echo "$0" | "$@"', typed]
        command = [*type_in, "etcdctl", "--endpoints", endpoints, *self.credentials, *args]
        return self._namespace.run(*command, env={"ETCDCTL_API": "3"}, check=check)

    def keys(self, prefix: str) -> dict[str, str]:
        """Return the keys with this prefix and their values; neither may contain newlines."""
        lines = self.ctl("get", "--prefix", prefix).splitlines()
        return dict(zip(lines[::2], lines[1::2]))


def log_time(line: str) -> Optional[float]:
    """Return the time (Unix time) at the start of a CTDB log line; None for a line without one."""
    try:
        return datetime.fromisoformat(line.partition(" ")[0]).timestamp()
    except ValueError:
        return None
