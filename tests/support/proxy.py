# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A proxy between the program and one etcd endpoint that makes the network faulty while it is in use.

The proxy is a separate process, so that a busy test does not distort its timing.  Every method returns once its change
is in force.  A new proxy forwards.  `freeze`, `freeze_answers`, `refuse`, `delay`, `truncate_answers`, `cut_requests`
and `forward` replace each other.  Traps (`hold_next_request`) and canned answers (`answer_with`) add to them and last
until `forward`.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from dataclasses import dataclass
from http.client import responses
from typing import Any, Mapping, Optional

from . import TREE
from .machine import ENOUGH, Port, end, spawn, wait_until


@dataclass
class Seen:
    """The traffic so far. `requests` are pairs like (moment, 'POST /v3/kv/range'), moments of time.monotonic()."""

    connections: int
    open: int
    trapped: int
    bytes_to_etcd: int
    bytes_to_client: int
    requests: list[tuple[float, str]]

    def count(self, path: str = "") -> int:
        """Return the number of requests whose method and path contain `path`."""
        return sum(path in line for _, line in self.requests)


class Proxy:
    """A proxy that listens at `endpoint` and forwards to `target` ("host:port"); a context manager."""

    def __init__(self, target: str) -> None:
        self._port = Port()
        self.endpoint = self._port.endpoint
        self._process = spawn(
            [sys.executable, "-m", "tests.support.proxy_server", str(self._port.number), *target.rsplit(":", 1)],
            env={**os.environ, "PYTHONPATH": str(TREE)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            self.seen()
        except BaseException:
            self.close()
            raise

    @property
    def port(self) -> int:
        """The port that the proxy listens on."""
        return self._port.number

    @property
    def pid(self) -> int:
        """The pid of the proxy process."""
        return self._process.pid

    def _do(self, command: str, **arguments: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], 20)[0]:
            raise AssertionError(f"the proxy did not answer to {command}")
        answer = self._process.stdout.readline()
        if not answer:
            raise AssertionError(f"the proxy died of {command}")
        return json.loads(answer)

    def forward(self, drop_held: bool = False) -> None:
        """Forward everything again.  Deliver the held bytes first, in order; with `drop_held` discard them."""
        if drop_held:
            self._do("mode", drop_held=True)
        self._do("clear")
        self._do("mode")

    def freeze(self) -> None:
        """Hold all bytes in both directions.  Connections stay open and new ones are accepted."""
        self._do("mode", hold_requests=True, hold_answers=True)

    def freeze_answers(self) -> None:
        """Forward requests to etcd, but hold its answers."""
        self._do("mode", hold_answers=True)

    def refuse(self) -> None:
        """Stop listening.  Reset existing connections; the bytes that they held are lost."""
        self._do("mode", listening=False)

    def delay(self, seconds: float) -> None:
        """Delay each answer by this many seconds."""
        self._do("mode", delay=seconds)

    def truncate_answers(self, at: Optional[int] = None) -> None:
        """Forward requests, but cut each answer after `at` bytes (default: in mid-body) and close the connection.

        With 0 the client sees at once that the outcome of its request is unknown.
        """
        self._do("mode", cut_answers=True, cut_at=at)

    def cut_requests(self) -> None:
        """Forward only half of each request, then close both connections."""
        self._do("mode", cut_requests=True)

    def reset(self) -> None:
        """Reset (RST) all connections once; the mode applies to new ones."""
        self._do("reset")

    def hold_next_request(self, matching: bytes, every: bool = False) -> None:
        """Hold the next request (with `every`, each one) whose head or body contains `matching`, until `release`.

        Other requests pass, unless they are behind it on the same connection.  A held request can be released after its
        client has given up.
        """
        self._do("trap", pattern=matching.decode("latin-1"), stays=every)

    def wait_held(self, timeout: float = ENOUGH, count: int = 1) -> None:
        """Wait until `count` requests are held by `hold_next_request`."""
        wait_until(lambda: self.seen().trapped >= count, f"{count} requests held by the proxy", timeout, pause=0.01)

    def release(self) -> None:
        """Forward all requests that are held by `hold_next_request`."""
        self._do("release")

    def answer_with(
        self, status: int, body: bytes, matching: bytes = b"", headers: Optional[Mapping[str, str]] = None
    ) -> None:
        """Answer every request that contains `matching` without asking etcd; the latest call wins."""
        lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        head = f'HTTP/1.1 {status} {responses.get(status, "Unknown")}\r\n'
        head += "".join(f"{key}: {value}\r\n" for key, value in lines.items()) + "\r\n"
        self._do("can", pattern=matching.decode("latin-1"), answer=head + body.decode("latin-1"))

    def seen(self) -> Seen:
        """Return the traffic so far."""
        seen = Seen(**self._do("seen"))
        seen.requests = [(moment, line) for moment, line in seen.requests]
        return seen

    def close(self) -> None:
        """Kill the proxy, which resets its connections."""
        end(self._process)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._port.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
