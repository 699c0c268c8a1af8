# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The connections through the proxy, which treat bytes by the mode in `proxy_network`.

A connection has two lines, one in each direction.  A line is a queue that bytes leave in order: not before they are
due, not while the direction is held, and not past a trapped request.  The end of the stream is also queued, so that a
request that is released late still arrives before it.  The proxy recognises plain HTTP/1.1 requests in the stream;
anything else (TLS, gRPC) passes as opaque bytes.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass
from typing import Callable, Deque, Optional

from .proxy_network import Network


@dataclass
class Item:
    """Queued bytes; b'' is the end of the stream."""

    data: bytes
    due: float = 0
    request: bool = False
    trapped: bool = False


class Line:
    """One direction of a connection."""

    def __init__(self, may_go: Callable[[Item], bool], deliver: Callable[[Item], None]) -> None:
        self.queue: Deque[Item] = deque()
        self._may_go = may_go
        self._deliver = deliver

    def put(self, item: Item) -> None:
        """Queue an item, and send what may go."""
        self.queue.append(item)
        self.pump()

    def pump(self) -> None:
        """Send all items that may go, in order."""
        while self.queue:
            item = self.queue[0]
            wait = item.due - time.monotonic()
            if wait > 0:
                asyncio.get_running_loop().call_later(wait, self.pump)
                return
            if item.trapped or not self._may_go(item):
                return
            self.queue.popleft()
            self._deliver(item)


class Side(asyncio.Protocol):
    """The asyncio protocol of one socket of a connection: it passes events on."""

    def __init__(self, made: Callable[[asyncio.Transport], None], received: Callable[[bytes], None]) -> None:
        self._made, self._received = made, received

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """(asyncio) The socket is connected."""
        self._made(transport)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """(asyncio) Bytes have arrived."""
        self._received(data)

    def eof_received(self) -> bool:
        """(asyncio) The stream has ended: keep our direction open."""
        self._received(b"")
        return True

    def connection_lost(self, exc: Optional[Exception]) -> None:
        """(asyncio) The socket was closed by us or reset by the peer."""
        if exc is not None:
            self._received(b"")


METHOD = re.compile(rb"(GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH) ")
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)


def request_size(data: bytes) -> Optional[int]:
    """Return the length of the first request in `data`: None if it is incomplete, 0 if it is not HTTP/1.1."""
    if not METHOD.match(data):
        return None if len(data) < 8 and data.isalpha() else 0
    head, found, _ = data.partition(b"\r\n\r\n")
    if not found:
        return None
    length = LENGTH.search(head)
    size = len(head) + 4 + (int(length.group(1)) if length else 0)
    return size if size <= len(data) else None


class Connection:
    """A client's connection and, once there are bytes to forward, ours to etcd."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._client: Optional[asyncio.Transport] = None
        self._etcd: Optional[asyncio.Transport] = None
        self._connecting: Optional[asyncio.Task[None]] = None
        self._partial = b""
        self._unanswered = False
        self.requests = Line(self._may_go_to_etcd, self._to_etcd)
        self.answers = Line(lambda item: not network.mode.hold_answers, self._to_client)

    def side(self) -> Side:
        """Return the protocol of the client's socket."""
        return Side(self._accepted, self._from_client)

    def _accepted(self, transport: asyncio.Transport) -> None:
        self._client = transport
        self._network.connections += 1
        self._network.open[self] = None

    def _from_client(self, data: bytes) -> None:
        self._partial += data
        while self._partial:
            size = request_size(self._partial)
            if size is None and data:
                return
            chunk, self._partial = self._partial[: size or None], self._partial[size:] if size else b""
            self._queue(chunk, bool(size))
        if not data:
            self.requests.put(Item(b""))

    def _queue(self, data: bytes, request: bool) -> None:
        item = Item(data, request=request)
        if request:
            line = data.split(b" HTTP/", 1)[0].decode("latin-1")
            self._network.requests.append((time.monotonic(), line))
            trap = next((trap for trap in self._network.traps if trap[0] in data), None)
            if trap:
                item.trapped = True
                if not trap[1]:
                    self._network.traps.remove(trap)
        self.requests.put(item)

    def _canned(self, item: Item) -> Optional[bytes]:
        return next((answer for pattern, answer in self._network.canned if item.request and pattern in item.data), None)

    def _may_go_to_etcd(self, item: Item) -> bool:
        if self._network.mode.hold_requests:
            return False
        if item.data and self._etcd is None and self._canned(item) is None:
            if self._connecting is None:
                self._connecting = asyncio.ensure_future(self._connect())
            return False
        # The end of the stream waits for the answer: etcd's gateway drops a request whose client is gone.
        return bool(item.data) or not self._unanswered

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: Side(self._connected, self._from_etcd), *self._network.target
            )
        except OSError:
            self.reset()

    def _connected(self, transport: asyncio.Transport) -> None:
        self._etcd = transport
        if self in self._network.open:
            self.requests.pump()
        else:
            transport.abort()

    def _to_etcd(self, item: Item) -> None:
        canned = self._canned(item)
        if not item.data:
            if self._etcd is None:
                self.answers.put(item)
            elif not self._etcd.is_closing():
                self._etcd.write_eof()
        elif canned is not None:
            self._answer(canned)
        else:
            cut = self._network.mode.cut_requests
            data = item.data[: len(item.data) // 2] if cut else item.data
            self._network.bytes_to_etcd += len(data)
            self._unanswered = item.request
            assert self._etcd
            self._etcd.write(data)
            if cut:
                self.close()

    def _from_etcd(self, data: bytes) -> None:
        self._unanswered = False
        self._answer(data)
        self.requests.pump()

    def _answer(self, data: bytes) -> None:
        self.answers.put(Item(data, time.monotonic() + self._network.mode.delay))

    def _to_client(self, item: Item) -> None:
        data, mode = item.data, self._network.mode
        if data and mode.cut_answers:
            body = data.find(b"\r\n\r\n") + 4
            middle = (body + len(data)) // 2 if body > 3 else len(data) // 2
            data = data[: middle if mode.cut_at is None else mode.cut_at]
        self._network.bytes_to_client += len(data)
        assert self._client
        if data and not self._client.is_closing():
            self._client.write(data)
        if len(data) < len(item.data) or not item.data:
            self.close()

    def close(self) -> None:
        """Close both sockets once all that was written to them is sent."""
        self._network.open.pop(self, None)
        for transport in (self._client, self._etcd):
            if transport is not None:
                transport.close()

    def reset(self) -> None:
        """Reset both connections (RST); queued bytes are lost."""
        self.requests.queue.clear()
        self.answers.queue.clear()
        for transport in (self._client, self._etcd):
            if transport is not None and not transport.is_closing():
                transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                transport.abort()
        self._network.open.pop(self, None)
