# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A network between the program and one etcd endpoint that can be made faulty while it is in use.

The proxy is a process of its own: a busy test does not distort its timing.  Every method returns when the change is in
force.  A new proxy forwards.  `freeze`, `freeze_answers`, `refuse`, `delay`, `truncate_answers`, `cut_requests` and
`forward` replace each other; traps (`hold_next_request`) and canned answers (`answer_with`) come on top of them and
last until `forward`.
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
from .machine import Port, end, spawn, wait_until


@dataclass
class Seen:
    """What has passed so far: `requests` are (moment, 'POST /v3/kv/range'), moments as of time.monotonic()."""

    connections: int
    open: int
    trapped: int
    bytes_to_etcd: int
    bytes_to_client: int
    requests: list[tuple[float, str]]

    def count(self, path: str = "") -> int:
        """How many requests had this in method and path."""
        return sum(path in line for _, line in self.requests)


class Proxy:
    """Listens at `endpoint`, in front of `target` ("host:port"); a context manager."""

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
        """Its port."""
        return self._port.number

    @property
    def pid(self) -> int:
        """Of its process."""
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
        """All as it comes, again.  What was held back is delivered first, in order; with `drop_held` it is lost."""
        if drop_held:
            self._do("mode", drop_held=True)
        self._do("clear")
        self._do("mode")

    def freeze(self) -> None:
        """Nothing moves in either direction: connections stay open, new ones are accepted, bytes are held."""
        self._do("mode", hold_requests=True, hold_answers=True)

    def freeze_answers(self) -> None:
        """Requests reach etcd, its answers are held."""
        self._do("mode", hold_answers=True)

    def refuse(self) -> None:
        """Nobody listens any more; existing connections are reset and what they held is lost."""
        self._do("mode", listening=False)

    def delay(self, seconds: float) -> None:
        """Each answer takes this long."""
        self._do("mode", delay=seconds)

    def truncate_answers(self, at: Optional[int] = None) -> None:
        """Requests reach etcd; of the answer only `at` bytes (default: up to the middle of the body) come, then the
        end of the connection.  At 0 the outcome of a request is unknown at once."""
        self._do("mode", cut_answers=True, cut_at=at)

    def cut_requests(self) -> None:
        """Only half of each request reaches etcd, then both connections end."""
        self._do("mode", cut_requests=True)

    def reset(self) -> None:
        """Reset (RST) all connections, once; new ones are treated as the mode says."""
        self._do("reset")

    def hold_next_request(self, matching: bytes, every: bool = False) -> None:
        """Hold the next request (`every` further one, if so) whose head or body contains `matching`, until `release`.

        Others pass, except behind it on its own connection.  Should its client give up, it can still be let go late.
        """
        self._do("trap", pattern=matching.decode("latin-1"), stays=every)

    def wait_held(self, timeout: float = 10, count: int = 1) -> None:
        """Wait until `count` requests are held by `hold_next_request`."""
        wait_until(lambda: self.seen().trapped >= count, timeout, f"{count} requests held by the proxy", 0.01)

    def release(self) -> None:
        """Let go all requests that are held by `hold_next_request`."""
        self._do("release")

    def answer_with(
        self, status: int, body: bytes, matching: bytes = b"", headers: Optional[Mapping[str, str]] = None
    ) -> None:
        """Answer every request that contains `matching` in etcd's stead; the latest such call wins."""
        lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        head = f'HTTP/1.1 {status} {responses.get(status, "Unknown")}\r\n'
        head += "".join(f"{key}: {value}\r\n" for key, value in lines.items()) + "\r\n"
        self._do("can", pattern=matching.decode("latin-1"), answer=head + body.decode("latin-1"))

    def seen(self) -> Seen:
        """What has passed so far."""
        seen = Seen(**self._do("seen"))
        seen.requests = [(moment, line) for moment, line in seen.requests]
        return seen

    def close(self) -> None:
        """End it; connections are reset."""
        end(self._process)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._port.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
