# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A node: its ctdbd (the stand-in in `ctdbd.py`) and the helpers that it runs."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Optional

from .network import Network
from .record import Operation

CTDBD = str(Path(__file__).with_name("ctdbd.py"))
CHECK_TIME = 5.0  # s, ctdbd's limit for the check in a recovery
TAKE_TIME = 30.0  # s; ctdbd's limit is 120


class Run:
    """A running helper: its operation, our end of its stdout, and its pidfd."""

    def __init__(self, operation: Operation, stdout: int, pidfd: int) -> None:
        self.operation = operation
        self.stdout: Optional[int] = stdout
        self._pidfd: Optional[int] = pidfd
        self._lock = threading.Lock()  # the nemesis sends signals from its own thread
        self.asked = False
        self.deadline = operation.started + (CHECK_TIME if operation.why == "check" else TAKE_TIME)

    @property
    def holding(self) -> bool:
        return self.operation.status[:1] == "0" and self.stdout is not None

    def ask(self) -> None:
        """Ask the helper to end, as ctdbd does when it no longer needs it."""
        self.asked = True
        self.signal(signal.SIGTERM, "TERM")

    def signal(self, number: int, reason: str = "") -> None:
        """Send the helper a signal, unless it is gone. A signal that asks it to end needs a reason."""
        if reason:
            self.operation.asked.append(reason)
        with self._lock:
            if self._pidfd is not None:
                try:
                    signal.pidfd_send_signal(self._pidfd, number)
                except ProcessLookupError:
                    pass

    def forget_pidfd(self) -> None:
        """Forget the pidfd before it is closed: its number may soon be reused."""
        with self._lock:
            self._pidfd = None


class FakeNode:
    """One node. `argv` and `env` start its helper; `kind` is the helper's kind."""

    def __init__(self, name: str, kind: str, argv: list[str], env: dict[str, str]) -> None:
        self.name = name
        self.kind = kind
        self.argv = argv
        self.env = env
        self.log = Path(f"/run/{name}.log")
        self.stderr: Optional[int] = None  # replaces the log for helpers started later
        self.stopped_since: Optional[float] = None  # when all of its processes were stopped
        self.channel: Optional[socket.socket] = None
        self.ctdbd: Optional[subprocess.Popen[bytes]] = None
        self.down = False  # ctdbd is dead, and stays so for now
        self.runs: dict[int, Run] = {}
        self.starting: dict[int, tuple[str, float, int]] = {}
        self.next_take = 0.0
        self.under: list[str] = []  # faults that may end any of its helpers now
        self.prefix: list[str] = []  # before ctdbd's command: enters control groups and mount namespace

    def boot(self) -> None:
        """Start ctdbd."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            argv = [*self.prefix, *Network.enter(self.name), sys.executable, "-I", CTDBD, str(theirs.fileno())]
            self.ctdbd = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self.channel = ours
        self.next_take = time.monotonic()

    @property
    def holder(self) -> Optional[Run]:
        return next((run for run in list(self.runs.values()) if run.holding), None)
