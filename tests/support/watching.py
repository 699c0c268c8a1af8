# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A real HelperWaiter over a fake clock, with a real parent process that a test can end.

A test module assigns the fixtures to names of its own: `clock, parent, watch = clock_fixture, ...`.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Iterator, Tuple

import pytest

from ctdb_etcd.ctdb.process import HelperWaiter

from .fakes import Clock, Poll
from .forks import fork

ENDING = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


class Parent:
    """A process that stands in for our parent."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()

        def child() -> None:
            self._ours.close()
            theirs.recv(1)

        self.pid = fork(child)
        theirs.close()

    def end(self) -> None:
        self._ours.close()
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(monkeypatch)
    Poll.install(monkeypatch, clock)
    return clock


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parent]:
    parent = Parent()
    monkeypatch.setattr(os, "getppid", lambda: parent.pid)
    yield parent
    parent.end()
    os.waitpid(parent.pid, 0)


@pytest.fixture
def watch(clock: Clock, parent: Parent) -> Iterator[HelperWaiter]:
    """Yield a HelperWaiter, and then undo its changes to this process."""
    before = {number: signal.getsignal(number) for number in ENDING}
    opened = set(os.listdir("/proc/self/fd"))
    yield HelperWaiter(parent.pid)
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)
    for name in set(os.listdir("/proc/self/fd")) - opened:
        try:
            os.close(int(name))
        except OSError:
            pass  # the descriptor of the listing itself


@pytest.fixture
def pipe() -> Iterator[Tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)
