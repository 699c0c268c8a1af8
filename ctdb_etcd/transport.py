# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""HTTP connections that never wait beyond their deadline and can be woken while they wait.

Sockets are non-blocking and wait through a Waiter only. Connecting races the candidates: a dead address
costs a quarter of a second and not a time-out.
"""

from __future__ import annotations

import errno
import http.client
import io
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
# No answer of etcd's that we ask for comes near this many bytes.
_ANSWER_MAX = 1 << 20


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


class Connection(http.client.HTTPConnection):
    """An HTTP/1.1 connection over a connected socket."""

    auto_open = 0

    def __init__(self, endpoint: str, stream: Stream) -> None:
        super().__init__(endpoint)
        self.endpoint = endpoint
        self._stream = stream
        self.sock = stream
        self.date = ""

    def ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], deadline: float
    ) -> tuple[int, bytes]:
        """Status and body of the answer. Raises OSError (TimeoutError at the deadline), HTTPException."""
        self._stream.deadline = deadline
        self.request(method, path, body, headers)
        response = self.getresponse()
        self.date = response.getheader("Date", "")
        answer = response.read(_ANSWER_MAX)
        if not response.isclosed() and response.read(1):
            raise http.client.HTTPException(f"an answer of more than {_ANSWER_MAX} bytes")
        return response.status, answer


class Stream:
    """What http.client needs of a socket, waiting through the Waiter."""

    def __init__(self, sock: socket.socket, waiter: Waiter) -> None:
        self._sock = sock
        self._waiter = waiter
        self._readers = 0
        self._closing = False
        self.deadline = 0.0

    def sendall(self, data: bytes) -> None:
        sent = 0
        while sent < len(data):
            sent += self.when_ready(select.POLLOUT, lambda: self._sock.send(data[sent:]))

    def receive_into(self, buffer: Any) -> int:
        return self.when_ready(select.POLLIN, lambda: self._sock.recv_into(buffer))

    def makefile(self, mode: str) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Close the socket once nobody reads from it: http.client closes it before the last answer is read."""
        self._closing = True
        if not self._readers:
            self._sock.close()

    def read_to_its_end(self) -> None:
        """One reader less."""
        self._readers -= 1
        if self._closing:
            self.close()

    def when_ready(self, event: int, operation: Callable[[], Result]) -> Result:
        """The result of an operation on the socket, repeated when the socket is ready for it (a poll event)."""
        while True:
            try:
                return operation()
            except BlockingIOError:
                self.wait(event)

    def wait(self, event: int) -> None:
        self._waiter.wait({self._sock.fileno(): event}, self.deadline)


class _Reader(io.RawIOBase):
    """The reading side of a stream; http.client closes it after each answer, the stream stays open."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._stream.read_to_its_end()

    def readinto(self, buffer: Any) -> int:
        if time.monotonic() >= self._stream.deadline:
            raise TimeoutError
        return self._stream.receive_into(buffer)
