# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Where etcd is: the endpoints of the file or of DNS SRV records, their addresses, and in what order to try them.

The resolver keeps to no deadline, so it runs in threads, one a name, and never costs more than a moment if
there is an endpoint that needs none: what is known is tried first. An answer that comes late still counts.
"""

from __future__ import annotations

import select
import socket
import time

from .failover import Task, endpoint_name
from .transport import STAGGER, Address, ConnectFailed, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .config import Config
    from .lock import Waiter
    from .log import Log


class Endpoints:
    """The endpoints of one etcd cluster by their names, `host:port`."""

    def __init__(self, config: Config, waiter: Waiter, log: Log) -> None:
        self._domain = config.srv_domain
        self._protocol = config.protocol
        self._waiter = waiter
        self._log = log
        self._hosts: dict[str, tuple[str, int]] = {}
        self._order: list[str] = []
        self._stale = self._domain is not None
        self._search: Task | None = None
        self._addresses: dict[str, list[Address]] = {}
        self._doubtful: set[str] = set()
        self._lookups: dict[str, Task] = {}
        if not self._domain:
            self._adopt(config.hosts)

    def names(self) -> list[str]:
        """All endpoints, the one to be tried first in front; none before find()."""
        return list(self._order)

    def host(self, endpoint: str) -> tuple[str, int]:
        """Host and port of an endpoint."""
        return self._hosts[endpoint]

    def failed(self) -> None:
        """No endpoint answers: perhaps DNS names others by now."""
        self._stale = self._domain is not None

    def find(self, until: float) -> None:
        """Ask DNS for the endpoints, if need be. Raises OSError (TimeoutError when the time is over), Refused."""
        if not self._stale:
            return
        if self._search is None:
            self._search = Task(self._look_up_members)
        # Those of last time may be good still.
        limit = min(until, time.monotonic() + STAGGER) if self._order else until
        try:
            self._waiter.wait({self._search.done: select.POLLIN}, limit)
            search, self._search = self._search, None
            self._adopt(search.result())
            self._stale = False
        except OSError as error:
            if not self._order:
                if isinstance(error, TimeoutError):
                    raise TimeoutError("the name servers give no answer") from None
                raise

    def connect(self, endpoints: list[str], until: float) -> tuple[Address, socket.socket]:
        """Connect to one of these, in order, whichever answers first. Raises ConnectFailed."""
        candidates, reasons = self._candidates(endpoints, until)
        try:
            return connect(candidates, self._waiter, until)
        except ConnectFailed as error:
            # Its name may have another address by now; but a holder must not depend on a name server.
            self._doubtful.update(error.reasons)
            raise ConnectFailed({**reasons, **error.reasons}) from None

    def prefer(self, endpoint: str) -> None:
        """Stay with what works, and go on from there when it fails."""
        if endpoint not in self._order:
            return
        if endpoint != self._order[0]:
            self._log.info(f"using endpoint {endpoint}")
        at = self._order.index(endpoint)
        self._order = self._order[at:] + self._order[:at]

    def _adopt(self, hosts: list[tuple[str, int]]) -> None:
        found = {endpoint_name(host, port): (host, port) for host, port in hosts}
        # A connection may still be in use to one that is not named any more.
        self._hosts.update(found)
        self._order = list(found)
        if self._domain:
            self._log.info(f"DNS names these endpoints for {self._domain}: {', '.join(self._order)}")

    def _look_up_members(self) -> list[tuple[str, int]]:
        from . import srv

        return srv.look_up(self._domain or "", self._protocol)

    def _candidates(self, endpoints: list[str], until: float) -> tuple[list[Address], dict[str, OSError]]:
        """The addresses known by now, and why others are not."""
        reasons: dict[str, OSError] = {}
        for endpoint in endpoints:
            if (endpoint not in self._addresses or endpoint in self._doubtful) and endpoint not in self._lookups:
                self._look_up(endpoint)
        soon = time.monotonic() + STAGGER
        while True:
            asked = {self._lookups[name].done: name for name in endpoints if name in self._lookups}
            known = any(name in self._addresses for name in endpoints)
            if not asked:
                break
            try:
                ready = self._waiter.wait(dict.fromkeys(asked, select.POLLIN), min(until, soon) if known else until)
            except TimeoutError:
                reasons.update((name, TimeoutError("the name servers give no answer")) for name in asked.values())
                break
            for name in (asked[done] for done in ready):
                try:
                    self._learn(name, self._lookups.pop(name).result())
                except OSError as error:
                    reasons[name] = error
        # Those without a new answer keep their old addresses.
        return [address for name in endpoints for address in self._addresses.get(name, [])], reasons

    def _look_up(self, endpoint: str) -> None:
        host, port = self._hosts[endpoint]
        self._doubtful.discard(endpoint)
        try:
            # Numbers need no name server, and as bytes none of Python's codec for international names.
            found = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            self._learn(endpoint, found)
        except socket.gaierror:
            self._lookups[endpoint] = Task(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))

    def _learn(self, endpoint: str, found: list[Any]) -> None:
        self._addresses[endpoint] = [Address(endpoint, family, sockaddr) for family, _, _, _, sockaddr in found]
