# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A whole machine: Debian under qemu in software emulation, on a disk that keeps nothing of what is written.

It ends with the test run. Two machines share a network of their own. In it, machine N has the address 10.23.0.N and the
name nodeN. What one sends while the other is stopped is lost once a buffer is full, as elsewhere. Commands reach a
machine through its agent, over a serial port.
"""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import time
from pathlib import Path
from typing import Sequence

from tests.support.machine import Port, end, spawn, wait_until

# Seconds. Generous: an emulated machine is about twenty times slower than a real one and may share its processor.
BOOT = 600
COMMAND = 300

# audit: log all denials of the boot as well.
KERNEL = """root=/dev/vda rw console=ttyS0 quiet mitigations=off systemd.unit=multi-user.target
security=selinux selinux=1 enforcing=1 audit=1 audit_backlog_limit=8192""".replace("\n", " ")


class Failed(AssertionError):
    """A command that failed. The message has the command's output."""


def _network(mine: Port, other: Port) -> str:
    ends = (("local", mine), ("remote", other))
    return "dgram,id=net" + "".join(f",{e}.type=inet,{e}.host=127.0.0.1,{e}.port={port.number}" for e, port in ends)


class Machine:
    """Machine 1 or 2, on the network of `ports`. tests/vm/image makes `image`; `files` is an archive for /root."""

    def __init__(self, number: int, directory: Path, ports: Sequence[Port], image: Path, files: Path) -> None:
        self.number = number
        self.name = f"node{number}"
        self.address = f"10.23.0.{number}"
        self._console = directory / f"console{number}"
        self._agent, agent = socket.socketpair()
        self._monitor, monitor = socket.socketpair()
        self._errors = directory / f"qemu{number}"
        with open(self._errors, "wb") as errors:
            self._qemu = spawn(
                [
                    *"qemu-system-x86_64 -nodefaults -no-user-config -display none -accel tcg -m 1024".split(),
                    *("-kernel", f"{image}/vmlinuz", "-initrd", f"{image}/initrd.img", "-append", KERNEL),
                    *("-drive", f"file={image}/disk.img,format=raw,if=virtio,snapshot=on,cache=unsafe"),
                    *("-drive", f"file={files},format=raw,if=virtio,read-only=on"),
                    *("-serial", f"file:{self._console}"),
                    *("-chardev", f"socket,id=monitor,fd={monitor.fileno()}", "-mon", "chardev=monitor,mode=control"),
                    *("-chardev", f"socket,id=agent,fd={agent.fileno()}", "-device", "virtio-serial"),
                    *("-device", "virtserialport,chardev=agent,name=agent"),
                    *("-netdev", _network(ports[number - 1], ports[2 - number])),
                    *("-device", f"virtio-net,netdev=net,mac=52:54:00:00:23:0{number},romfile="),
                ],
                stdout=errors.fileno(),
                stderr=subprocess.STDOUT,
                pass_fds=[agent.fileno(), monitor.fileno()],
            )
        agent.close()
        monitor.close()
        self._answers = self._agent.makefile("rb")
        self._replies = self._monitor.makefile("rb")

    def wait_boot(self) -> None:
        """Wait until commands can run, the network is up and /root has the files."""
        self.qmp("qmp_capabilities")
        assert self._line(BOOT) == b"ready\n"
        # udev gives the interface another name, perhaps at this moment.
        self.run(
            f"hostname {self.name}; tar -C /root -xf /dev/vdb; until nic=$(ls /sys/class/net | grep -v lo) &&"
            f" ip addr replace {self.address}/24 dev $nic && ip link set $nic up; do sleep 0.1; done"
        )

    def run(self, command: str, check: bool = True) -> str:
        """Return what a shell command prints to stdout or stderr. With `check`, raise Failed if its status is not 0."""
        self._agent.sendall(json.dumps([command, COMMAND]).encode() + b"\n")
        status, output = json.loads(self._line(COMMAND + 60))
        if check and status:
            raise Failed(f"{self.name}: {command}: status {status}\n{output}")
        return str(output)

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """Write a whole file, with the label that the policy gives its path."""
        self.run(f"printf %s {shlex.quote(text)} >{path}; chmod {mode} {path}; restorecon -F {path}")

    def now(self) -> float:
        """Return the machine's clock, in seconds since 1970."""
        return float(self.run("date +%s.%N"))

    def offset(self) -> float:
        """Return how far the machine's clock is ahead of ours, in seconds, accurate to some hundredths."""
        asked = time.time()
        return self.now() - (asked + time.time()) / 2

    def qmp(self, command: str) -> dict[str, object]:
        """Run a command of qemu's monitor (stop, cont, system_wakeup, ...) and return its result."""
        self._monitor.settimeout(60)
        self._monitor.sendall(json.dumps({"execute": command}).encode() + b"\n")
        for line in self._replies:
            reply = json.loads(line)
            assert "error" not in reply, (command, reply)
            if "return" in reply:
                return dict(reply["return"])
        raise AssertionError(self.describe())

    @property
    def running(self) -> bool:
        """Whether the machine can answer."""
        return self._qemu.poll() is None and bool(self.qmp("query-status")["running"])

    def pause(self) -> None:
        """Stop the machine and its clocks, as a hypervisor does."""
        self.qmp("stop")

    def go_on(self) -> None:
        """Continue the machine after `pause`."""
        self.qmp("cont")

    def suspend(self) -> None:
        """Suspend to RAM by the machine's own kernel. Only a clock in its hardware goes on."""
        self.run("(sleep 0.5; echo mem >/sys/power/state) >/dev/null 2>&1 &")
        wait_until(lambda: self.qmp("query-status")["status"] == "suspended", f"{self.name} to be suspended", COMMAND)

    def wake(self) -> None:
        """Wake the machine after `suspend`."""
        self.qmp("system_wakeup")

    def power_off(self) -> None:
        """End the machine as if its plug were pulled."""
        end(self._qemu)

    def close(self) -> None:
        """End the machine, whatever it does, and close its sockets."""
        self.power_off()
        self._agent.close()
        self._monitor.close()

    def _line(self, timeout: float) -> bytes:
        self._agent.settimeout(timeout)
        try:
            line = self._answers.readline()
        except OSError as failure:
            raise AssertionError(f"no answer in {timeout:g} s: {failure}\n{self.describe()}") from None
        assert line, self.describe()
        return line

    def describe(self) -> str:
        """Return what qemu and the machine's console have printed."""
        texts = [path.read_text(errors="replace") for path in (self._errors, self._console) if path.exists()]
        return f"{self.name}: qemu's status: {self._qemu.poll()}\n" + "\n".join(texts)[-6000:]
