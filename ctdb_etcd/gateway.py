# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""etcd's v3 JSON gateway: one call at a time, to whichever endpoint answers.

Every call that this program makes may be sent twice without harm (the lock chooses its lease IDs itself), so
a call goes on, endpoint after endpoint, until one answers or its deadline has come. What etcd itself refuses
is raised at once; what is wrong with an endpoint, when no other gives a better answer.
"""

from __future__ import annotations

import http.client
import json
import time

from .failover import EndpointRefused, Failover, endpoint_name, share
from .lock import LockError, Refused, Stopped, Unavailable
from .transport import Address, ConnectFailed, Connection, connect, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .config import Config
    from .lock import Waiter
    from .log import Log


class LeaseNotFound(LockError):
    """The lease of the call is not there (any more)."""


class LeaseExists(LockError):
    """A lease with the ID of the call is there already."""


# etcd's messages (api/v3rpc/rpctypes/error.go) and what they mean; after any other a call is tried again.
# The HTTP status is of no use: it differs between releases for one and the same error.
_MESSAGES = (
    ("requested lease not found", LeaseNotFound, ""),
    ("lease already exists", LeaseExists, ""),
    ("permission denied", Refused, "give the user readwrite permission on the lock's directory"),
    ("user name is empty", Refused, "etcd wants a login, which this version cannot give"),
    ("Not Found", EndpointRefused, "the v3 API is not served: this needs etcd 3.4 or later"),
)
_NOT_SERVED = (
    "the v3 API is not served at /v3 (HTTP status {}): this needs etcd 3.4 or later with its gateway"
    " (enable-grpc-gateway: true in etcd's configuration file)"
)


class Gateway:
    """The endpoints of one etcd cluster, the connection in use, and the addresses known."""

    def __init__(self, config: Config, waiter: Waiter, log: Log) -> None:
        self._hosts = {endpoint_name(host, port): (host, port) for host, port in config.hosts}
        # The one in use comes first.
        self.endpoints = list(self._hosts)
        self._read_timeout = config.read_timeout
        self._waiter = waiter
        self._log = log
        self._addresses: dict[str, list[Address]] = {}
        self._connection: Connection | None = None
        self._failover = Failover(waiter, log)

    def call(self, path: str, body: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Post body to /v3/path and return the answer's JSON object.

        Raises Unavailable at the deadline (monotonic seconds), Refused, LeaseNotFound, LeaseExists.
        """
        data = json.dumps(body).encode()
        return self._failover.call(lambda failures: self._round(path, data, deadline, failures), deadline)

    def get(self, endpoint: str, path: str, until: float) -> tuple[int, bytes]:
        """HTTP status and body of a GET at this very endpoint, on a connection of its own.

        Raises OSError (TimeoutError when the time is over), HTTPException.
        """
        try:
            address, sock = connect(self._known(endpoint, until), self._waiter, until)
        except ConnectFailed as error:
            raise error.reasons[endpoint] from None
        connection = Connection(address, sock, self._waiter)
        try:
            status, body = connection.ask("GET", path, None, {}, until)
        finally:
            connection.close()
        self._log.debug(f"GET {path}: {status} from {endpoint}")
        return status, body

    def _round(self, path: str, data: bytes, deadline: float, failures: dict[str, Exception]) -> dict[str, Any] | None:
        """Try every endpoint once, beginning with the one in use; None if all of them failed."""
        untried = list(self.endpoints)
        while untried:
            until = share(deadline, len(untried), self._read_timeout)
            kept = self._connection
            endpoint = kept.endpoint if kept else ""
            try:
                if self._connection is None:
                    self._connection = self._connect(untried, until)
                    endpoint = self._connection.endpoint
                return self._exchange(self._connection, path, data, until)
            except ConnectFailed as error:
                failures.update(error.reasons)
                return None
            except Stopped:
                self._drop()
                raise
            except (OSError, http.client.HTTPException, Unavailable, EndpointRefused) as error:
                self._drop()
                # etcd may have closed a connection that stood idle: that says nothing about the endpoint.
                if kept and isinstance(error, (ConnectionError, http.client.HTTPException)):
                    continue
                failures[endpoint] = error
                untried.remove(endpoint)
        return None

    def _connect(self, endpoints: list[str], until: float) -> Connection:
        candidates: list[Address] = []
        reasons: dict[str, OSError] = {}
        for endpoint in endpoints:
            try:
                # A resolver that hangs must leave time for the endpoints that need none.
                candidates += self._known(endpoint, (time.monotonic() + until) / 2)
            except OSError as error:
                reasons[endpoint] = error
        try:
            address, sock = connect(candidates, self._waiter, until)
        except ConnectFailed as error:
            # Its name may have another address by now.
            for endpoint in error.reasons:
                self._addresses.pop(endpoint, None)
            raise ConnectFailed({**reasons, **error.reasons}) from None
        if address.endpoint != self.endpoints[0]:
            self._log.info(f"using endpoint {address.endpoint}")
        # Stay with what works, and go on from there when it fails.
        at = self.endpoints.index(address.endpoint)
        self.endpoints = self.endpoints[at:] + self.endpoints[:at]
        return Connection(address, sock, self._waiter)

    def _known(self, endpoint: str, until: float) -> list[Address]:
        if endpoint not in self._addresses:
            found = resolve(*self._hosts[endpoint], self._waiter, until)
            self._addresses[endpoint] = [Address(endpoint, family, sockaddr) for family, sockaddr in found]
        return self._addresses[endpoint]

    def _exchange(self, connection: Connection, path: str, data: bytes, until: float) -> dict[str, Any]:
        began = time.monotonic()
        headers = {"Content-Type": "application/json"}
        self._log.wire(f"> POST /v3/{path} {headers} {data.decode()}")
        try:
            status, body = connection.ask("POST", f"/v3/{path}", data, headers, until)
        except TimeoutError:
            raise TimeoutError(f"no answer in {time.monotonic() - began:.1f} s") from None
        self._log.debug(f"{path}: {status} from {connection.endpoint} in {time.monotonic() - began:.4f} s")
        self._log.wire(f"< {status} {body.decode('utf-8', 'backslashreplace')}")
        return _understand(status, body)

    def _drop(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


def _understand(status: int, body: bytes) -> dict[str, Any]:
    """The answer's object, or the exception that etcd's message stands for."""
    try:
        # A stream's answer is one object a line; ours has one line.
        answer, _ = json.JSONDecoder().raw_decode(body.decode("utf-8"))
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        if status in (404, 405, 501):
            raise EndpointRefused(_NOT_SERVED.format(status))
        raise Unavailable(f"an answer that is not JSON (HTTP status {status})")
    error = answer.get("error")
    if status == 200 and not error:
        return answer
    # On streams the error is an object; from 3.6 on there is only `message`.
    message = error.get("message") if isinstance(error, dict) else answer.get("message") or error
    for part, kind, advice in _MESSAGES:
        if part in str(message):
            raise kind(f"etcd says: {message}" + (f": {advice}" if advice else ""))
    raise Unavailable(f"etcd says: {message} (HTTP status {status})")
