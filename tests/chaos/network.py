# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A router and, around it, one network namespace for each node and each etcd member.

Runs inside the namespace of the whole run, as its router. It forwards every packet between two hosts, so one iptables
chain can drop, delay, duplicate or reset the traffic from one host to another. The run's own requests to the members
start here and are not forwarded, so no fault touches them.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Callable, Iterable

from .delay import QUEUES

Undo = Callable[[], object]
Way = tuple[str, str]  # from a host, to a host


@dataclass
class Harm:
    """What iptables does with packets."""

    action: list[str]
    table: str = "filter"


def run(*command: str) -> str:
    """Run a command and return its output; AssertionError with the output if it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
    return done.stdout


class Network:
    """The network of named hosts. Host number n (from 1) has the address 10.9.n.2."""

    def __init__(self) -> None:
        self._hosts: list[str] = []
        run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        self._delays = subprocess.Popen([sys.executable, "-m", "tests.chaos.delay"], stdout=subprocess.PIPE)
        assert self._delays.stdout and self._delays.stdout.readline() == b"ready\n"

    @property
    def delays(self) -> bool:
        """Whether packets are still delayed: without the process the kernel would let them pass."""
        return self._delays.poll() is None

    def add(self, host: str) -> None:
        """Create a host, with no process on it."""
        self._hosts.append(host)
        n = len(self._hosts)
        run("ip", "netns", "add", host)
        run("ip", "link", "add", f"to{n}", "type", "veth", "peer", "name", "eth0", "netns", host)
        run("ip", "addr", "add", f"10.9.{n}.1/24", "dev", f"to{n}")
        run("ip", "link", "set", f"to{n}", "up")
        inside = ["ip", "-n", host]
        run(*inside, "addr", "add", f"10.9.{n}.2/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            run(*inside, "link", "set", device, "up")
        run(*inside, "route", "add", "default", "via", f"10.9.{n}.1")

    def address(self, host: str) -> str:
        return f"10.9.{self._hosts.index(host) + 1}.2"

    @staticmethod
    def enter(host: str) -> list[str]:
        """Return the command prefix that runs a command on that host."""
        return ["nsenter", f"--net=/run/netns/{host}"]

    def drop(self, share: float = 1.0) -> Harm:
        """Lose all packets, or this share of them at random."""
        return Harm([*_chance(share), "-j", "DROP"])

    def delay(self, queue: int) -> Harm:
        """Delay every packet as this queue of `delay` does."""
        assert 1 <= queue <= len(QUEUES)
        return Harm(["-j", "NFQUEUE", "--queue-num", str(queue), "--queue-bypass"])

    def double(self) -> Harm:
        """Deliver every packet twice."""
        return Harm(["-j", "TEE", "--gateway", "{target}"], "mangle")

    def refuse(self, share: float) -> Harm:
        """Answer this share of the packets with a reset, as if the target had closed the connection."""
        return Harm(["-p", "tcp", *_chance(share), "-j", "REJECT", "--reject-with", "tcp-reset"])

    def apply(self, harm: Harm, ways: Iterable[Way]) -> Undo:
        """Apply the harm to the traffic of all these ways at one instant; return a function that undoes it."""
        rules = []
        for way in ways:
            source, target = map(self.address, way)
            action = [word.format(target=target) for word in harm.action]
            rules.append(" ".join(["FORWARD", "-s", source, "-d", target, *action]))
        self._restore(harm.table, [f"-I {rule}" for rule in rules])
        return lambda: self._restore(harm.table, [f"-D {rule}" for rule in rules])

    @staticmethod
    def _restore(table: str, lines: list[str]) -> None:
        text = "\n".join([f"*{table}", *lines, "COMMIT", ""])
        subprocess.run(["iptables-restore", "-w", "--noflush"], input=text, text=True, timeout=20, check=True)

    def narrow(self, host: str, bits: int) -> Undo:
        """Limit the traffic to the host to this many bits per second; return a function that undoes it."""
        device = f"to{self._hosts.index(host) + 1}"
        run("tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", str(bits), "burst", "2000", "latency", "3s")
        return lambda: run("tc", "qdisc", "del", "dev", device, "root")

    def reset(self, host: str, *others: str) -> None:
        """Reset both ends of the host's connections to the others at once, mid-request or mid-answer."""
        for other in others:
            run(*self.enter(host), "ss", "-K", "-t", "dst", self.address(other))


def _chance(share: float) -> list[str]:
    return [] if share >= 1 else ["-m", "statistic", "--mode", "random", "--probability", f"{share:.3f}"]
