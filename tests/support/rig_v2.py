# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A client of the v2 API over the fake network."""

from __future__ import annotations

from typing import Any, List, Tuple

import pytest

pytest.importorskip("etcd.client", reason="python3-etcd is not installed")

from ctdb_etcd.client.endpoints import Endpoints  # noqa: E402
from ctdb_etcd.client.v2 import Client  # noqa: E402

from .conf import parse  # noqa: E402
from .fake_network import A, B, C, Cluster, Serve, Server, always, answer  # noqa: E402

FINE = answer(200, {"action": "get", "node": {"key": "/k", "value": "v"}})
CLOSED = ConnectionResetError(104, "Connection reset by peer")


def says(status: int, body: Any, fields: str = "") -> Serve:
    """Return a server that gives the same answer to every request."""
    return always((0.0, answer(status, body, fields)))


class Rig(Cluster):
    """The fake cluster with a v2 client."""

    def __init__(self, monkeypatch: Any) -> None:
        super().__init__(monkeypatch)
        for server in self.servers:
            server.serve = always((0.0, FINE))
        self.v2()

    @property
    def servers(self) -> Tuple[Server, Server, Server]:
        return self.a, self.b, self.c

    def v2(self, count: int = 3, more: str = "") -> Client:
        config = parse(f"host = {', '.join([A, B, C][:count])},\n{more}")
        log: Any = self.log
        self.client = Client(Endpoints(config, self.waiter, log))
        client: Client = self.client
        return client

    def read(self, seconds: float = 8.0) -> Any:
        return self.client.call("read", lambda client: client.read("/k").value, self.clock.now + seconds)

    def append(self, seconds: float = 8.0) -> Any:
        return self.client.call_once("append", write, self.clock.now + seconds)

    def asked(self) -> List[int]:
        return [len(server.requests) for server in self.servers]


def write(client: Any) -> Any:
    """Append a key: an operation that must not be repeated."""
    return client.write("/d", "a value", append=True, ttl=9).value


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)
