# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Connections that never wait beyond their deadline and can be woken while they wait.

Sockets are non-blocking and wait through a Waiter only. Connecting races the candidates: a dead address
costs a quarter of a second and not a time-out.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, TypeVar

    from .lock import Waiter

    Result = TypeVar("Result")

# Seconds between starting to connect to one candidate and to the next (RFC 8305 calls it the attempt delay).
STAGGER = 0.25
# What one read takes at most; most answers have less.
_READ = 1 << 16


class Address:
    """Where to connect to: a configured endpoint (its name is what messages say) and one of its addresses."""

    def __init__(self, endpoint: str, family: int, sockaddr: Any) -> None:
        self.endpoint = endpoint
        self.family = family
        self.sockaddr = sockaddr


class ConnectFailed(OSError):
    """No candidate could be connected to: `reasons` says why, by endpoint."""

    def __init__(self, reasons: dict[str, OSError]) -> None:
        super().__init__("; ".join(f"{endpoint}: {reason}" for endpoint, reason in reasons.items()))
        self.reasons = reasons


def connect(candidates: list[Address], waiter: Waiter, deadline: float) -> tuple[Address, socket.socket]:
    """Connect to whichever candidate answers first, begun in order. Raises ConnectFailed."""
    pending: dict[int, tuple[Address, socket.socket]] = {}
    reasons: dict[str, OSError] = {
        candidate.endpoint: TimeoutError("no connection in time") for candidate in candidates
    }
    waiting = list(candidates)
    try:
        while waiting or pending:
            if waiting:
                candidate = waiting.pop(0)
                sock = socket.socket(candidate.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                pending[sock.fileno()] = candidate, sock
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                code = sock.connect_ex(candidate.sockaddr)
                if code not in (0, errno.EINPROGRESS):
                    pending.pop(sock.fileno())
                    sock.close()
                    reasons[candidate.endpoint] = OSError(code, os.strerror(code))
                    continue
            until = min(deadline, time.monotonic() + STAGGER) if waiting else deadline
            try:
                ready = waiter.wait(dict.fromkeys(pending, select.POLLOUT), until)
            except TimeoutError:
                if time.monotonic() >= deadline:
                    break
                continue
            for fd in ready:
                candidate, sock = pending.pop(fd)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    return candidate, sock
                sock.close()
                reasons[candidate.endpoint] = OSError(code, os.strerror(code))
    finally:
        for _, sock in pending.values():
            sock.close()
    raise ConnectFailed(reasons)


class Stream:
    """A connected socket that waits through the Waiter, until its deadline."""

    def __init__(self, sock: socket.socket, waiter: Waiter) -> None:
        self._sock = sock
        self._waiter = waiter
        self.deadline = 0.0

    def send(self, data: bytes) -> None:
        """Send all of it."""
        sent = 0
        while sent < len(data):
            sent += self.when_ready(select.POLLOUT, lambda: self._sock.send(data[sent:]))

    def receive(self) -> bytes:
        """What comes next; nothing at the end of the stream."""
        # A server that sends a byte now and then never lets us wait.
        if time.monotonic() >= self.deadline:
            raise TimeoutError
        return self.when_ready(select.POLLIN, lambda: self._sock.recv(_READ))

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def when_ready(self, event: int, operation: Callable[[], Result]) -> Result:
        """The result of an operation on the socket, repeated when the socket is ready for it (a poll event)."""
        while True:
            try:
                return operation()
            except BlockingIOError:
                self.wait(event)

    def wait(self, event: int) -> None:
        """Wait for a poll event of the socket. Raises TimeoutError at the deadline, Stopped."""
        self._waiter.wait({self._sock.fileno(): event}, self.deadline)
