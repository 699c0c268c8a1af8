# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The part of HTTP/1.1 that is needed to ask etcd one thing after the other, and the stream below it.

Not the standard library's client: with its email parser and ssl it takes as long to import as everything else that a
contender does, and it cannot keep to a deadline. An answer is used only if it is complete; after an incomplete one, or
one that leaves bytes behind it, the connection is not used again.
"""

from __future__ import annotations

import select
import time

from ..errors import GrpcOnly, TooLong
from ..fence import LEAST_TRY
from ..waiting import ready
from .login import masked
from .retry import reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Callable, TypeVar

    from ..log import Log
    from ..waiting import Waiter

    Result = TypeVar("Result")

# The most bytes that one read takes; most answers are shorter.
_READ = 1 << 16
# etcd takes no request of more than 1.5 MiB by default, so no key is longer. Base64 in v3 makes 2 MiB of it, JSON's
# escapes in v2 up to 9 MiB.
_BODY_MAX = 10 << 20
_HEAD_MAX = 1 << 16

_TOO_LONG = f"an answer of more than {_BODY_MAX} bytes"


class HttpError(OSError):
    """What arrived is no HTTP/1.1 answer, or an incomplete one."""


class NotSent(ConnectionResetError):
    """The connection was closed before the request, of which nothing was sent."""


class Stream:
    """A connected non-blocking socket that waits through the Waiter, until its deadline."""

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
        """Return what comes next; nothing at the end of the stream."""
        # A server that sends a byte now and then leaves nothing to wait for, so no wait would see the deadline.
        if time.monotonic() >= self.deadline:
            raise TimeoutError
        return self.when_ready(select.POLLIN, lambda: self._sock.recv(_READ))

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def when_ready(self, event: int, operation: Callable[[], Result]) -> Result:
        """Return the result of an operation on the socket, repeated when the socket is ready for it (a poll event)."""
        while True:
            try:
                return operation()
            except BlockingIOError:
                self.wait(event)

    def wait(self, event: int) -> None:
        """Wait for a poll event of the socket. Raises TimeoutError at the deadline, Stopped."""
        # TLS can always be ready and never have anything to read.
        if time.monotonic() >= self.deadline:
            raise TimeoutError
        self._waiter.wait({self._sock.fileno(): event}, self.deadline)


class Connection:
    """One connection to an endpoint (`host:port`)."""

    def __init__(self, endpoint: str, stream: Stream) -> None:
        self.endpoint = endpoint
        # The header fields of the last answer, their names in lower case.
        self.fields: dict[str, str] = {}
        self._stream = stream
        self._got = bytearray()
        self.usable = True  # for another request

    def ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], deadline: float
    ) -> tuple[int, bytes]:
        """Status and body of the answer.

        Raises OSError (TimeoutError at the deadline), TooLong, GrpcOnly.
        """
        status = self._request(method, path, body, headers, deadline)
        answer = self._body(status)
        stays = self.fields["version"] == "HTTP/1.1" and "close" not in self.fields.get("connection", "").lower()
        # Bytes that nobody asked for would be taken for the next answer.
        self.usable = stays and not self._ended and not self._got
        return status, answer

    def follow(self, path: str, body: bytes, headers: dict[str, str], deadline: float) -> tuple[int, bytes]:
        """Status and first chunk of an answer without an end; later ones show in has_more(). Raises as ask."""
        status = self._request("POST", path, body, headers, deadline)
        return status, (self._chunk() if self._chunked() else self._body(status))

    def has_more(self) -> bool:
        """Whether more bytes or the end have come after what was read."""
        return bool(self._got or self._ended or ready({self.fileno(): select.POLLIN}, 0))

    def fileno(self) -> int:
        """The socket's descriptor, to wait for more bytes or the end."""
        return self._stream.fileno()

    def _request(self, method: str, path: str, body: bytes | None, headers: dict[str, str], deadline: float) -> int:
        """Send a request; status of the answer, whose header fields are in `fields` then."""
        if not self.usable:
            raise NotSent("the connection was closed")
        self.usable = False
        self._length = 0
        self._stream.deadline = deadline
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.endpoint}", "Accept-Encoding: identity"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self._stream.send(("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b""))
        if not self._receive():
            raise ConnectionResetError("the connection was closed")
        while (status := self._head()) < 200:  # an interim answer
            pass
        return status

    def close(self) -> None:
        self.usable = False
        self._stream.close()

    def _head(self) -> int:
        """Status of the next answer; its header fields, `version` among them, go to `fields`."""
        while (length := self._got.find(b"\r\n\r\n")) < 0:
            if begins_http2(self._got):
                raise GrpcOnly
            speaks_http = b"HTTP/1.".startswith(self._got[:7]) or (len(self._got) < 5 and not any(self._got[:2]))
            # Another server that listens there (SSH) may wait for our answer.
            if not speaks_http or len(self._got) > _HEAD_MAX:
                raise HttpError("what answers does not speak HTTP")
            self._more()
        first, *lines = self._taken(length, 4).decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        code = rest[:3]
        if not (version.startswith("HTTP/1.") and code.isdecimal() and int(code) >= 100):
            raise HttpError("what answers does not speak HTTP")
        self.fields = {}
        for line in lines:
            name, _, value = line.partition(":")
            self.fields[name.lower()] = value.strip()
        self.fields["version"] = version
        return int(code)

    def _chunked(self) -> bool:
        return self.fields.get("transfer-encoding", "").lower() == "chunked"

    def _body(self, status: int) -> bytes:
        if status in (204, 304):
            return b""
        if self._chunked():
            return self._chunks()
        length = self.fields.get("content-length")
        if length is None:
            while self._receive():
                pass
            return self._take(len(self._got))
        return self._take(_number(length, 10))

    def _chunks(self) -> bytes:
        body = bytearray()
        while chunk := self._chunk():
            body += chunk
            if len(body) > _BODY_MAX:
                raise TooLong(_TOO_LONG)
        while self._line():  # a field behind the last chunk
            pass
        return bytes(body)

    def _chunk(self) -> bytes:
        """The next chunk; the last one is empty."""
        chunk = self._take(_number(self._line().partition(";")[0].strip(), 16))
        if chunk and self._line():
            raise HttpError("the answer's chunks are not as long as they say")
        return chunk

    def _line(self) -> str:
        while (length := self._got.find(b"\r\n")) < 0:
            self._more()
        return self._taken(length, 2).decode("latin-1")

    def _take(self, size: int) -> bytes:
        if size > _BODY_MAX:
            raise TooLong(_TOO_LONG)
        while len(self._got) < size:
            self._more()
        return self._taken(size, 0)

    def _taken(self, size: int, beyond: int) -> bytes:
        taken = bytes(self._got[:size])
        # Unlike a slice this does not copy the rest.
        del self._got[: size + beyond]
        return taken

    def _more(self) -> None:
        if not self._receive():
            raise HttpError("the answer broke off")

    def _receive(self) -> bool:
        """Wait for more bytes; return whether any came before the end."""
        data = self._stream.receive()
        self._ended = not data
        self._got += data
        # All that came for one answer: interim answers, and fields behind the last chunk, have no limit of their own.
        self._length += len(data)
        if self._length > _HEAD_MAX + _BODY_MAX:
            raise TooLong(_TOO_LONG)
        return not self._ended


def exchange(
    connection: Connection,
    log: Log,
    name: str,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    until: float,
    secret: bool = False,
) -> tuple[int, bytes]:
    """As Connection.ask, logged under this name; if `secret`, without the bodies."""
    began = time.monotonic()
    log.wire(f"> {method} {path} {masked(headers)} {'***' if secret else (body or b'').decode()}")
    try:
        status, answer = connection.ask(method, path, body, headers, until)
    except OSError as error:
        took = time.monotonic() - began
        log.debug(f"{name}: no answer from {connection.endpoint} in {took:.4f} s: {reason(error)}")
        if isinstance(error, TimeoutError):
            # The last tries before a deadline are shorter, which says nothing about etcd.
            raise TimeoutError(f"no answer in {took:.1f} s" if took >= LEAST_TRY else "no answer in time") from None
        raise
    log.debug(f"{name}: {status} from {connection.endpoint} in {time.monotonic() - began:.4f} s")
    log.wire(f"< {status} {'***' if secret else answer.decode('utf-8', 'backslashreplace')}")
    return status, answer


def begins_http2(data: bytes | bytearray) -> bool:
    """Whether a server's first bytes are a SETTINGS frame of HTTP/2, of less than 256 bytes (RFC 9113, 3.4 and 4.1)."""
    return data[:2] == b"\0\0" and data[3:5] == b"\x04\0"


def _number(digits: str, base: int) -> int:
    try:
        # int() would take signs, blanks and underscores as well.
        if digits.isalnum() and len(digits) <= 19:
            return int(digits, base)
    except ValueError:
        pass
    raise HttpError("the answer's length is no number")
