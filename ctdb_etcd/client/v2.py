# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""etcd's v2 API by python-etcd, with one of its clients for each endpoint and a deadline for each call.

python-etcd makes the requests of the API and understands the answers; they go over our own connections (v2_http). Its
failover is not used: it repeats what must not be repeated blindly.
"""

from __future__ import annotations

import json
import time
from typing import Any, Callable

import etcd

from ..errors import EndpointRefused, LockError, Refused, Stopped, Unavailable
from .endpoints import NO_LEADER, Endpoints
from .retry import Retry, reason, share
from .v2_http import Http

# etcd's codes of the two errors that a call may raise.
_CODES = {etcd.EtcdKeyNotFound: 100, etcd.EtcdCompareFailed: 101}
# How python-etcd's text begins for an answer that is not one of the v2 API.
_NOT_SERVED = "Bad response"


class Unanswered(Exception):
    """The call may or may not have had its effect."""


class Client:
    """The members of one etcd cluster, and the order in which to ask them."""

    # User name and password go with every request.
    logged_in = None

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._config = endpoints.config
        self._order: list[str] = []
        self._retry = Retry(endpoints.waiter, endpoints.log, self._config.again)
        self._edition = self._config.edition
        self._clients: dict[str, etcd.Client] = {}

    def call(self, name: str, operation: Callable[[etcd.Client], Any], deadline: float) -> Any:
        """Return what operation(client) returns, at whichever member answers; it may be repeated.

        `name` is what the log calls it.

        Raises Unavailable at the deadline, Refused, and etcd.EtcdKeyNotFound, etcd.EtcdCompareFailed.
        """

        def attempt(failures: dict[str, Exception]) -> Any:
            try:
                self._find(share(deadline, self._config.read_timeout))
            except OSError as error:
                failures[f"srv_domain {self._config.srv_domain}"] = error
                return None
            for untried in range(len(self._order), 0, -1):
                if self._order[0] not in failures:
                    try:
                        return self.ask(name, operation, share(deadline, self._config.read_timeout, untried))
                    except (Unavailable, EndpointRefused) as error:
                        failures[self._order[0]] = error
                self._next()
            self._endpoints.failed()
            return None

        return self._retry.call(attempt, deadline)

    def call_once(self, name: str, operation: Callable[[etcd.Client], Any], deadline: float) -> Any:
        """As `call`, but not repeated: raises Unanswered if its outcome is unknown."""
        self._endpoints.waiter.check()
        try:
            self._find(share(deadline, self._config.read_timeout))
            return self.ask(name, operation, share(deadline, self._config.read_timeout), repeatable=False)
        except OSError as error:
            raise Unanswered(f"srv_domain {self._config.srv_domain}: {reason(error)}") from None
        except (Unavailable, EndpointRefused) as error:
            self._next()
            raise Unanswered(str(error)) from None

    def apart(self, endpoint: str) -> Client:
        """The same for a thread of its own, only for `ask` at this endpoint, of whatever cluster."""
        own = Client(self._endpoints.apart(endpoint))
        own._order = [endpoint]
        return own

    def ask(self, name: str, operation: Callable[[etcd.Client], Any], until: float, repeatable: bool = True) -> Any:
        """As `call`, once, at the endpoint that is asked first; raises Unavailable at once.

        What is not `repeatable` reaches etcd at most once.
        """
        endpoint = self._order[0]
        client = self._clients.get(endpoint) or self._client(endpoint)
        client.http.begin(name, until, repeatable)
        try:
            return operation(client)
        except (etcd.EtcdKeyNotFound, etcd.EtcdCompareFailed) as error:
            # python-etcd takes every answer with status 404 for the first one.
            if error.payload.get("errorCode") == _CODES[type(error)]:
                raise
            raise Unavailable(f"etcd's answer makes no sense: {error}") from None
        except Stopped:
            raise
        except Exception as error:  # python-etcd raises anything for garbage in an answer
            raise self._understand(error, endpoint, until) from None

    def idle(self) -> dict[int, int]:
        """What to wait for: the end of the idle connection in use."""
        client = self._clients.get(self.endpoint)
        end: dict[int, int] = client.http.idle() if client else {}
        return end

    @property
    def cluster(self) -> int | None:
        """The ID of the cluster that the answers are from, if any has named it."""
        return self._endpoints.cluster

    def health(self, endpoint: str, until: float, found: dict[str, Any]) -> None:
        """Put what a member reports of itself into `found`: reachable, version, leader, latency, error.

        Raises as Endpoints.get, and as v3's health() for an answer that makes no sense.
        """
        began = time.monotonic()
        _, body = self._endpoints.get(endpoint, "/version", until)
        found["latency"] = round(time.monotonic() - began, 6)
        found.update(reachable=True, version=str(json.loads(body)["etcdserver"]))
        _, body = self._endpoints.get(endpoint, f"{self._config.version_prefix}/stats/self", until)
        state = json.loads(body)
        found["leader"] = state["state"] == "StateLeader"
        if not state["leaderInfo"]["leader"].strip("0"):
            found["error"] = NO_LEADER

    @property
    def endpoint(self) -> str:
        """The member that is asked first: the one that answered last."""
        return self._order[0] if self._order else ""

    def _next(self) -> None:
        failed = self._order[0]
        self._endpoints.doubt(failed)
        if failed in self._clients:
            self._clients[failed].http.clear()
        self._order.append(self._order.pop(0))

    def _find(self, until: float) -> None:
        if self._edition != self._config.edition:
            # The file may name another user. A client that is dropped closes its connection.
            self._edition = self._config.edition
            self._clients.clear()
        self._endpoints.find(until)
        names = self._endpoints.names()
        if set(names) != set(self._order):
            self._order = names

    def _client(self, endpoint: str) -> etcd.Client:
        config = self._config
        # Its other options are about connections, and those are ours.
        client = etcd.Client(
            version_prefix=config.version_prefix,
            allow_redirect=config.allow_redirect,
            username=config.username and _for_latin_1(config.username),
            password=config.password and _for_latin_1(config.password),
        )
        client.http = Http(self._endpoints, endpoint)
        self._clients[endpoint] = client
        return client

    def _understand(self, error: Exception, endpoint: str, until: float) -> Exception:
        """Return what python-etcd's exception, or one of v2_http, means here."""
        text = " ".join(str(error).split())
        if isinstance(error, LockError):
            return error
        if isinstance(error, etcd.EtcdConnectionFailed):
            explained = self._endpoints.explain(error.cause, endpoint, until)
            return explained if isinstance(explained, LockError) else Unavailable(reason(explained))
        if isinstance(error, etcd.EtcdInsufficientPermissions):
            path = f"{self._config.lock_prefix}/{self._config.locks_dir}/NAME*"
            return Refused(
                f"etcd reports: {text}: the v2 API has users of its own: check username, password, and the right to the"
                f" lock (NAME is the cluster's): ETCDCTL_API=2 etcdctl role grant ROLE --path '{path}' --readwrite"
            )
        if text.startswith(_NOT_SERVED) and "404" in text:
            return EndpointRefused(
                "the v2 API is not served: start etcd (before 3.6) with --enable-v2=true, or set api = 3"
            )
        if isinstance(error, etcd.EtcdException):
            return Unavailable(f"etcd reports: {text}")
        return Unavailable(f"etcd's answer makes no sense: {type(error).__name__}")


def _for_latin_1(text: str) -> str:
    """A text that urllib3, which encodes in Latin-1, sends as this text in UTF-8, which etcd expects."""
    return text.encode().decode("latin-1")
