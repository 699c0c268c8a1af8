# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A network on the fake clock: sockets that connect, answer and break as a test plans, and a Waiter for them.

`socket.socket` and `select.poll` are replaced; the program's code that uses them is real. A server's name is
`host:port` with an IP address. By default a connection takes no time and the server answers by the test's function.
"""

from __future__ import annotations

import errno
import json
import select
import socket
from typing import Any, Callable, Dict, List, Optional, Set, Tuple, Union
from urllib.parse import parse_qsl

from ctdb_etcd.client import v3
from ctdb_etcd.client.endpoints import Endpoints

from .conf import parse
from .fakes import Clock, Log, Waiter

# A received piece: bytes, the end of the stream (b""), or an error.
Piece = Union[bytes, OSError]
# A server's function: it gets path and body of a request and returns pieces, each with its delay in seconds.
Serve = Callable[[str, Dict[str, Any]], List[Tuple[float, Piece]]]


def answer(status: int, body: Union[bytes, Dict[str, Any]], fields: str = "") -> bytes:
    """Return an HTTP answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status} X\r\n{fields}Content-Length: {len(data)}\r\n\r\n".encode() + data


class Server:
    """The server at one address. `connects` is the seconds that a connection takes; None: it never connects.

    `error` is the error number with which a connection fails; 0: it succeeds.
    """

    def __init__(self, serve: Serve) -> None:
        self.serve = serve
        self.connects: Optional[float] = 0.0
        self.error = 0
        # The requests in order: path and body (decoded JSON or form), methods, header fields and times.
        self.requests: List[Tuple[str, Dict[str, Any]]] = []
        self.methods: List[str] = []
        self.fields: List[Dict[str, str]] = []
        self.times: List[float] = []
        self.connections: List[Socket] = []

    @property
    def paths(self) -> List[str]:
        return [path for path, _ in self.requests]

    def refuse(self) -> None:
        self.error = errno.ECONNREFUSED

    def never_connect(self) -> None:
        self.connects = None

    def fall_silent(self) -> None:
        """Accept every request and answer none."""
        self.serve = lambda path, body: []

    def end_idle(self) -> None:
        """Close the connections that have carried a request, as a restart does."""
        for connection in self.connections:
            connection.ended = True
            connection.pieces.append((0.0, b""))


class Network:
    """All servers by name, and all sockets that the program has made."""

    def __init__(self, monkeypatch: Any, clock: Clock) -> None:
        self.clock = clock
        self.servers: Dict[str, Server] = {}
        self.sockets: Dict[int, Socket] = {}
        # The names of the servers that were connected to, in order, with the times.
        self.tried: List[Tuple[str, float]] = []
        monkeypatch.setattr(socket, "socket", self._make)
        self.real_poll: Callable[[], Any] = select.poll
        monkeypatch.setattr(select, "poll", lambda: Glance(self))

    def server(self, name: str, serve: Serve) -> Server:
        self.servers[name] = Server(serve)
        return self.servers[name]

    def open(self) -> List[str]:
        """Return the name of the server of each open socket."""
        return [sock.name for sock in self.sockets.values() if not sock.closed]

    def _make(self, family: int, kind: int, proto: int = 0) -> Socket:
        sock = Socket(self, 1_000_000 + len(self.sockets))
        self.sockets[sock.number] = sock
        return sock


class Socket:
    """A non-blocking socket."""

    def __init__(self, network: Network, number: int) -> None:
        self._network = network
        self.number = number
        self.name = ""
        self.closed = self.ended = False
        self._server: Optional[Server] = None
        self._connected_at = float("inf")
        # The pieces that have not been read yet, each with its time of arrival.
        self.pieces: List[Tuple[float, Piece]] = []
        self._sent = b""

    def fileno(self) -> int:
        return -1 if self.closed else self.number

    def setsockopt(self, *_: object) -> None:
        pass

    def connect_ex(self, address: Tuple[Any, ...]) -> int:
        self.name = f"{address[0]}:{address[1]}"
        self._server = server = self._network.servers[self.name]
        now = self._network.clock.now
        self._network.tried.append((self.name, now))
        self._connected_at = float("inf") if server.connects is None else now + server.connects
        return errno.EINPROGRESS

    def getsockopt(self, *_: object) -> int:
        assert self._server
        return self._server.error

    def send(self, data: bytes) -> int:
        assert not self.closed and self._server
        self._sent += data
        head, found, body = self._sent.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:])
        if found and not self.ended and len(body) >= int(fields.get("content-length", 0)):
            self._sent = b""
            method, path, _ = lines[0].split(" ")
            form = fields.get("content-type") == "application/x-www-form-urlencoded"
            request = (path, dict(parse_qsl(body.decode())) if form else json.loads(body) if body else {})
            server, now = self._server, self._network.clock.now
            if self not in server.connections:
                server.connections.append(self)
            server.requests.append(request)
            server.methods.append(method)
            server.fields.append(dict(line.split(": ", 1) for line in lines[1:]))
            server.times.append(now)
            self.pieces += [(now + seconds, piece) for seconds, piece in server.serve(*request)]
        return len(data)

    def recv(self, size: int) -> bytes:
        assert not self.closed
        if not self.ready(select.POLLIN):
            raise BlockingIOError
        _, piece = self.pieces[0]
        if isinstance(piece, OSError):
            raise piece
        if piece:
            self.pieces.pop(0)
        return piece

    def close(self) -> None:
        self.closed = True

    def ready(self, event: int) -> bool:
        return self.ready_at(event) <= self._network.clock.now

    def ready_at(self, event: int) -> float:
        """Return the time at which the socket is ready for a poll event, as far as it is known now."""
        if event == select.POLLOUT:
            return self._connected_at
        return self.pieces[0][0] if self.pieces else float("inf")


class Glance:
    """select.poll for fake sockets, only with timeout 0."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._events: Dict[int, int] = {}

    def register(self, fd: int, event: int) -> None:
        self._events[fd] = event

    def poll(self, milliseconds: float) -> List[Tuple[int, int]]:
        assert milliseconds == 0
        return [(fd, event) for fd, event in self._events.items() if self._network.sockets[fd].ready(event)]


class NetworkWaiter(Waiter):
    """A Waiter for fake sockets on the fake clock, and for the real pipe of a thread in real time.

    With `hangs` it assumes that the thread does not end: only fake time passes.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network.clock)
        self._network = network
        self.hangs = False

    def wait(self, events: Dict[int, int], deadline: float) -> Set[int]:
        self.waits.append(deadline)
        clock, sockets = self._network.clock, self._network.sockets
        real = self._network.real_poll()
        for fd, event in events.items():
            if fd not in sockets:
                real.register(fd, event)
        timeout = 5000 if not self.hangs and events.keys() - sockets.keys() else 0
        while True:
            self.check()
            ready = {fd for fd, event in events.items() if fd in sockets and sockets[fd].ready(event)}
            ready |= {fd for fd, _ in real.poll(0 if ready else timeout)}
            if ready:
                return ready
            if clock.now >= deadline:
                raise TimeoutError
            soon = [sockets[fd].ready_at(event) for fd, event in events.items() if fd in sockets]
            clock.until(min([deadline, clock.next(), *soon]))


A, B, C = "127.0.0.1:1", "127.0.0.2:2", "127.0.0.3:3"
FINE = {"header": {"cluster_id": "77"}}
# What a leader reports of itself.
STATUS = {"header": {"cluster_id": "77", "member_id": "5"}, "leader": "5", "version": "3.5.9"}


def fine(path: str, body: Dict[str, Any]) -> List[Tuple[float, Piece]]:
    """Answer every request with success."""
    return [(0.0, answer(200, FINE))]


def always(*pieces: Tuple[float, Piece]) -> Serve:
    """Return a server's function that gives the same answer to every request."""
    return lambda path, body: list(pieces)


def by_path(**answers: Any) -> Serve:
    """Return a function that answers by the last part of the path, with a given piece or function."""

    def serve(path: str, body: Dict[str, Any]) -> List[Tuple[float, Piece]]:
        found = answers[path.rpartition("/")[2]]
        pieces: List[Tuple[float, Piece]] = found(path, body) if callable(found) else [(0.0, found)]
        return pieces

    return serve


def says(message: str, status: int = 503) -> Serve:
    """Return a server's function that answers every request with an etcd error."""
    return always((0.0, answer(status, {"message": message, "code": 1})))


class Cluster:
    """Three endpoints a, b and c on a fake network, and a v3 client of them."""

    def __init__(self, monkeypatch: Any) -> None:
        self.clock = Clock(monkeypatch)
        self.network = Network(monkeypatch, self.clock)
        self.waiter, self.log = NetworkWaiter(self.network), Log()
        self.a, self.b, self.c = (self.network.server(name, fine) for name in (A, B, C))
        self.client = self.configured(3)

    def configured(self, count: int, more: str = "") -> Any:
        """Return a client of the first `count` endpoints with `more` in its file; `call` then uses this client."""
        config = parse(f"host = {', '.join([A, B, C][:count])},\n{more}")
        log: Any = self.log
        self.client = v3.Client(Endpoints(config, self.waiter, log))
        return self.client

    def call(self, seconds: float = 8.0, path: str = "kv/range", body: Optional[Dict[str, Any]] = None) -> Any:
        return self.client.call(path, body or {}, self.clock.now + seconds)
