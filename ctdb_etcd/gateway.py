# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""etcd's v3 JSON gateway: one call at a time, to whichever endpoint answers.

Every call that this program makes may be sent twice without harm (the lock chooses its lease IDs itself), so
a call goes on, endpoint after endpoint, until one answers or its deadline has come. What etcd itself refuses
is raised at once; what is wrong with an endpoint, when no other gives a better answer.
"""

from __future__ import annotations

import json
import time

from . import login
from .answers import PermissionDenied, advice, check_cluster, understand
from .failover import CLOSED, EndpointRefused, Failover, reason, share
from .http1 import Connection, Disconnected, HttpError
from .lock import Refused, Stopped, Unavailable
from .transport import ConnectFailed, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from .config import Config
    from .endpoints import Endpoints
    from .lock import Waiter
    from .log import Log
    from .tls import Tls


class Gateway:
    """The endpoints of one etcd cluster, the connection in use, and the login."""

    def __init__(self, config: Config, endpoints: Endpoints, waiter: Waiter, log: Log) -> None:
        """Raises Refused: a file that TLS needs is not good."""
        self._config = config
        self._waiter = waiter
        self._log = log
        self._endpoints = endpoints
        self._tls = _tls(config) if config.protocol == "https" else None
        self._login = login.Login(config, log)
        self._connection: Connection | None = None
        self.endpoint = ""  # that was connected to last
        self._failover = Failover(waiter, log)

    @property
    def endpoints(self) -> list[str]:
        """The names of all endpoints; those of srv_domain are known once a call was answered."""
        return self._endpoints.names()

    @property
    def logged_in(self) -> bool:
        """Whether the last request went with a token."""
        return self._login.active

    def call(self, path: str, body: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Post body to /v3/path and return the answer's JSON object.

        Raises Unavailable at the deadline (monotonic seconds), Refused (OtherCluster if all endpoints are of
        one that is not expected), LeaseNotFound, LeaseExists.
        """
        data = json.dumps(body)
        try:
            return self._failover.call(lambda failures: self._round(path, data, deadline, failures), deadline)
        except PermissionDenied as denial:
            raise Refused(f"{denial}: {advice(self._config.username, body)}") from None

    def get(self, endpoint: str, path: str, until: float) -> tuple[int, bytes]:
        """HTTP status and body of a GET at this very endpoint, on a connection of its own.

        Raises OSError (TimeoutError when the time is over), HttpError, EndpointRefused.
        """
        began = time.monotonic()
        try:
            _, sock = self._endpoints.connect([endpoint], until)
            connection = self._open(endpoint, sock, until)
            try:
                status, body = connection.ask("GET", path, None, {}, until)
            finally:
                connection.close()
        except ConnectFailed as error:
            raise error.reasons[endpoint] from None
        except OSError as error:
            raise self._of_tls(error, endpoint) from None
        self._log.debug(f"GET {path}: {status} from {endpoint} in {time.monotonic() - began:.4f} s")
        return status, body

    def ask(self, endpoint: str, path: str, body: dict[str, Any], until: float) -> tuple[dict[str, Any], str]:
        """Post to this very endpoint, once, on a connection of its own: the answer's object and its Date header.

        Logs in only if etcd wants it: a member without a leader can't let anybody in, but tells how it is. Raises
        as `get` and `call` do; Unavailable at once.
        """
        try:
            _, sock = self._endpoints.connect([endpoint], until)
            connection = self._open(endpoint, sock, until)
            try:
                data = json.dumps(body)
                try:
                    answer = self._post(connection, path, data, {}, until)
                except login.Unauthenticated:
                    answer = self._exchange(connection, path, data, until)
            finally:
                connection.close()
        except ConnectFailed as error:
            raise error.reasons[endpoint] from None
        except OSError as error:
            raise self._of_tls(error, endpoint) from None
        return answer, connection.date

    def _round(self, path: str, data: str, deadline: float, failures: dict[str, Exception]) -> dict[str, Any] | None:
        """Try every endpoint once, beginning with the one in use; None if all of them failed."""
        if self._connection is None:
            try:
                self._endpoints.find(share(deadline, 1, self._config.read_timeout))
            except OSError as error:
                failures[f"srv_domain {self._config.srv_domain}"] = error
                return None
        untried = self._endpoints.names()
        while untried:
            until = share(deadline, len(untried), float("inf"))
            kept = self._connection
            endpoint = kept.endpoint if kept else ""
            try:
                if kept is None:
                    address, sock = self._endpoints.connect(untried, self._at_most(until))
                    endpoint = address.endpoint
                    self._connection = self._open(endpoint, sock, self._at_most(until))
                    self._endpoints.prefer(endpoint)
                    self.endpoint = endpoint
                assert self._connection
                return self._exchange(self._connection, path, data, until)
            except ConnectFailed as error:
                failures.update(error.reasons)
                break
            except Stopped:
                self._drop()
                raise
            except (OSError, HttpError, Unavailable, EndpointRefused) as error:
                self._drop()
                if isinstance(error, (ConnectionError, HttpError)):
                    # Some builds of etcd answer a dead token so.
                    self._login.forget()
                    # It may have closed a connection that stood idle: that says nothing about the endpoint.
                    if kept:
                        continue
                failures[endpoint] = self._explain(error, endpoint)
            if endpoint in untried:
                untried.remove(endpoint)
        self._endpoints.failed()
        return None

    def _open(self, endpoint: str, sock: socket.socket, until: float) -> Connection:
        if self._tls is None:
            return Connection(endpoint, Stream(sock, self._waiter))
        host, _ = self._endpoints.host(endpoint)
        return Connection(endpoint, self._tls.stream(sock, self._waiter, host, until))

    def _exchange(self, connection: Connection, path: str, data: str, until: float) -> dict[str, Any]:
        try:
            return self._authorized(connection, path, data, until)
        except login.Unauthenticated as error:
            self._login.wanted(error)
            return self._authorized(connection, path, data, until)

    def _authorized(self, connection: Connection, path: str, data: str, until: float) -> dict[str, Any]:
        headers = self._login.headers(lambda body: self._post(connection, login.PATH, body, {}, until))
        return self._post(connection, path, data, headers, until)

    def _post(
        self, connection: Connection, path: str, data: str, headers: dict[str, str], until: float
    ) -> dict[str, Any]:
        began = time.monotonic()
        secret = path == login.PATH
        headers = {**headers, "Content-Type": "application/json"}
        self._log.wire(f"> POST /v3/{path} {headers} {'***' if secret else data}")
        try:
            status, body = connection.ask("POST", f"/v3/{path}", data.encode(), headers, self._at_most(until))
        except (OSError, HttpError) as error:
            took = time.monotonic() - began
            self._log.debug(f"{path}: no answer from {connection.endpoint} in {took:.4f} s: {reason(error)}")
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"no answer in {took:.1f} s") from None
            raise
        self._log.debug(f"{path}: {status} from {connection.endpoint} in {time.monotonic() - began:.4f} s")
        hidden = secret and status == 200
        self._log.wire(f"< {status} {'***' if hidden else body.decode('utf-8', 'backslashreplace')}")
        answer = understand(status, body)
        if self._config.expected_cluster_id:
            check_cluster(answer, int(self._config.expected_cluster_id, 16))
        return answer

    def _at_most(self, until: float) -> float:
        return min(until, time.monotonic() + self._config.read_timeout)

    def _explain(self, error: Exception, endpoint: str) -> Exception:
        if isinstance(error, Disconnected) and not self._tls:
            return OSError(CLOSED)
        return self._of_tls(error, endpoint)

    def _of_tls(self, error: Exception, endpoint: str) -> Exception:
        return self._tls.explain(error, self._endpoints.host(endpoint)[0]) if self._tls else error

    def _drop(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


def _tls(config: Config) -> Tls:
    # ssl takes a tenth of the start of a contender that does without.
    from .tls import Tls

    return Tls(config)
