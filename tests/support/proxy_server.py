# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The process behind `proxy.Proxy`: a TCP port that forwards to one etcd endpoint and simulates a faulty network.

    python3 -m tests.support.proxy_server PORT TARGET-HOST TARGET-PORT

It reads commands from stdin, one JSON line each. It answers each with a JSON line on stdout once the command is in
force, and exits at the end of stdin.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Optional

from .proxy_network import Mode, Network
from .proxy_wire import Connection


class Server:
    """The listening socket, with one public method for each command."""

    def __init__(self, port: int, network: Network) -> None:
        self._port = port
        self._network = network
        self._listener: Optional[asyncio.AbstractServer] = None

    async def mode(self, drop_held: bool = False, **mode: Any) -> None:
        """Set the mode; with `drop_held` first discard the bytes that are held."""
        self._network.mode = Mode(**mode)
        if drop_held:
            for connection in self._network.open:
                for line in (connection.requests, connection.answers):
                    ends = [item for item in line.queue if not item.data]
                    line.queue.clear()
                    line.queue.extend(ends)
        if not self._network.mode.listening:
            if self._listener:
                self._listener.close()
                self._listener = None
            await self.reset()
        elif self._listener is None:
            self._listener = await asyncio.get_running_loop().create_server(
                lambda: Connection(self._network).side(), "127.0.0.1", self._port
            )
        self._pump()

    def _pump(self) -> None:
        for connection in list(self._network.open):
            connection.requests.pump()
            connection.answers.pump()

    async def reset(self) -> None:
        """Reset all connections."""
        for connection in list(self._network.open):
            connection.reset()

    async def trap(self, pattern: str, stays: bool) -> None:
        """Hold the next request that contains the pattern; with `stays`, each one."""
        self._network.traps.append((pattern.encode("latin-1"), stays))

    async def can(self, pattern: str, answer: str) -> None:
        """Answer requests that contain the pattern without asking etcd; the latest such command wins."""
        self._network.canned.insert(0, (pattern.encode("latin-1"), answer.encode("latin-1")))

    async def release(self) -> None:
        """Forward the trapped requests."""
        for connection in self._network.open:
            for item in connection.requests.queue:
                item.trapped = False
        self._pump()

    async def clear(self) -> None:
        """Remove traps and canned answers; forward the trapped requests."""
        self._network.traps.clear()
        self._network.canned.clear()
        await self.release()

    async def seen(self) -> dict[str, Any]:
        """Return the counters, and the requests with their times."""
        network = self._network
        trapped = sum(item.trapped for connection in network.open for item in connection.requests.queue)
        return {
            "connections": network.connections,
            "open": len(network.open),
            "trapped": trapped,
            "bytes_to_etcd": network.bytes_to_etcd,
            "bytes_to_client": network.bytes_to_client,
            "requests": network.requests,
        }


async def serve(port: int, host: str, target_port: int) -> None:
    """Run commands until stdin ends."""
    server = Server(port, Network((host, target_port)))
    await server.mode()
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while True:
        line = await commands.readline()
        if not line:
            return
        command = json.loads(line)
        answer = await getattr(server, command.pop("do"))(**command)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
