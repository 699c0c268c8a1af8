# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""etcd's v2 API by python-etcd, with one of its clients for each endpoint and a deadline for each call.

python-etcd waits where nothing can interrupt it, and its time-outs start again with each read. So it runs in a thread
that is left behind at the deadline; whatever it still sends then is conditional and does no harm, or leaves a key
that ends by its TTL. Its own failover is not used: it repeats what must not be repeated blindly.
"""

from __future__ import annotations

import json
import logging
import ssl
import time

import etcd

from ..errors import EndpointRefused, GrpcOnly, LockError, OtherCluster, Refused, Stopped, Unavailable
from ..waiting import aside
from .endpoints import CLOSED, NO_LEADER, ConnectFailed, bracketed
from .http1 import HttpError
from .retry import Retry, reason, share
from .tls import context, explain, secure, wrong_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ..config.file import Config
    from ..log import Log
    from ..waiting import Waiter
    from .endpoints import Endpoints

# How python-etcd's text begins for an answer that is not one of the v2 API.
_NOT_SERVED = "Bad response"


class Unanswered(Exception):
    """The call may or may not have had its effect."""


class Client:
    """The members of one etcd cluster, and the order in which to ask them."""

    def __init__(self, config: Config, endpoints: Endpoints, waiter: Waiter, log: Log) -> None:
        """Raises Refused: a file that TLS needs is unusable."""
        self._config = config
        self._endpoints = endpoints
        self._tls = context(config) if config.protocol == "https" else None
        self._order: list[str] = []
        self._read_timeout = config.read_timeout
        self._waiter = waiter
        self._log = log
        self._retry = Retry(waiter, log)
        self._clients: dict[str, etcd.Client] = {}
        # It logs what it then raises; we log it once, in our words.
        logging.getLogger("etcd").addHandler(logging.NullHandler())
        logging.getLogger("etcd").propagate = False
        log.hide(config.password or "")

    def call(self, operation: Callable[[etcd.Client], Any], deadline: float) -> Any:
        """Return what operation(client) returns, at whichever member answers; it may be repeated.

        Raises Unavailable at the deadline, Refused, and etcd.EtcdKeyNotFound, etcd.EtcdCompareFailed.
        """

        def attempt(failures: dict[str, Exception]) -> Any:
            try:
                self._find(share(deadline, 1, self._read_timeout))
            except OSError as error:
                failures[f"srv_domain {self._config.srv_domain}"] = error
                return None
            for untried in range(len(self._order), 0, -1):
                if self._order[0] in failures:
                    self._next()
                    continue
                try:
                    return self._ask(operation, share(deadline, untried, self._read_timeout))
                except (Unavailable, EndpointRefused) as error:
                    failures[self._order[0]] = error
                    self._next()
            self._endpoints.failed()
            return None

        return self._retry.call(attempt, deadline)

    def call_once(self, operation: Callable[[etcd.Client], Any], deadline: float) -> Any:
        """As `call`, but not repeated: raises Unanswered if its outcome is unknown."""
        self._waiter.check()
        try:
            self._find(share(deadline, 1, self._read_timeout))
        except OSError as error:
            raise Unanswered(f"srv_domain {self._config.srv_domain}: {reason(error)}") from None
        try:
            return self._ask(operation, share(deadline, 1, self._read_timeout))
        except (Unavailable, EndpointRefused) as error:
            self._next()
            raise Unanswered(str(error)) from None

    @property
    def logged_in(self) -> None:
        """User name and password go with every request."""

    def health(self, endpoint: str, until: float, found: dict[str, Any]) -> None:
        """Put what a member reports of itself into `found`: reachable, version, leader, latency, error.

        Raises as Endpoints.get, and KeyError, TypeError, ValueError for an answer that makes no sense.
        """
        began = time.monotonic()
        _, body = self._endpoints.get(endpoint, "/version", until)
        found["latency"] = round(time.monotonic() - began, 6)
        found.update(reachable=True, version=str(json.loads(body)["etcdserver"]))
        _, body = self._endpoints.get(endpoint, "/v2/stats/self", until)
        state = json.loads(body)
        found["leader"] = state["state"] == "StateLeader"
        if not state["leaderInfo"]["leader"].strip("0"):
            found["error"] = NO_LEADER

    def _ask(self, operation: Callable[[etcd.Client], Any], until: float) -> Any:
        endpoint = self._order[0]
        # A client whose call was left behind is not used again.
        client = self._clients.pop(endpoint, None) or self._client(endpoint, until)
        began = time.monotonic()
        try:
            answer = aside(lambda: operation(client), self._waiter, until)
        except TimeoutError:
            raise Unavailable(f"no answer in {time.monotonic() - began:.1f} s") from None
        except (etcd.EtcdKeyNotFound, etcd.EtcdCompareFailed):
            self._clients[endpoint] = client
            raise
        except Stopped:
            raise
        except Exception as error:  # python-etcd raises anything for garbage in an answer
            raise self._understand(error, endpoint, until) from None
        finally:
            self._log.debug(f"v2: {endpoint} in {time.monotonic() - began:.4f} s")
        self._clients[endpoint] = client
        return answer

    @property
    def endpoint(self) -> str:
        """The member that is asked first: the one that answered last."""
        return self._order[0] if self._order else ""

    def _next(self) -> None:
        self._order.append(self._order.pop(0))

    def _find(self, until: float) -> None:
        self._endpoints.find(until)
        names = self._endpoints.names()
        if set(names) != set(self._order):
            self._order = names

    def _client(self, endpoint: str, until: float) -> etcd.Client:
        # python-etcd is given an address that answers: it would ask the name servers again for each connection.
        try:
            address, sock = self._endpoints.connect([endpoint], until)
        except ConnectFailed as error:
            raise Unavailable(reason(error.reasons[endpoint])) from None
        sock.close()
        host, port = self._endpoints.host(endpoint)
        client = etcd.Client(**client_keywords(self._config, (address.sockaddr[0], port)))
        if self._tls:
            secure(client, self._tls, host)
        return client

    def _understand(self, error: Exception, endpoint: str, until: float) -> Exception:
        """Return what python-etcd's exception means here."""
        text = " ".join(str(error).split())
        if isinstance(error, etcd.EtcdInsufficientPermissions):
            path = f"{self._config.lock_prefix}/{self._config.locks_dir}/NAME*"
            return Refused(
                f"etcd says: {text}: check username and password, which are others in the v2 API, and for NAME, the"
                f" lock's: ETCDCTL_API=2 etcdctl role grant ROLE --path '{path}' --readwrite"
            )
        if isinstance(error, etcd.EtcdClusterIdChanged):
            return OtherCluster(f"{text} Check host and expected_cluster_id")
        if isinstance(error, etcd.EtcdConnectionFailed):
            host, _ = self._endpoints.host(endpoint)
            insecure = _tls_error(error)
            if insecure:
                failure = explain(insecure, host, self._config)
                return failure if isinstance(failure, EndpointRefused) else Unavailable(str(failure))
            if "t match" in text:
                return EndpointRefused(wrong_name(host))
            if "Connection aborted" in text and self._grpc_only(endpoint, until):
                return GrpcOnly()
            if "RemoteDisconnected" in text and not self._tls:
                return Unavailable(CLOSED)
            # The innermost reason is inside urllib3's wrappers: "... (Caused by X('<object>: reason'))".
            why = text.rpartition("Caused by ")[2].rpartition(">: ")[2].strip("\")'( ") or text
            return Unavailable(why)
        if text.startswith(_NOT_SERVED) and "404" in text:
            return EndpointRefused(
                "the v2 API is not served: start etcd (before 3.6) with --enable-v2=true, or set api = 3"
            )
        return Unavailable(f"etcd says: {text or type(error).__name__}")

    def _grpc_only(self, endpoint: str, until: float) -> bool:
        """python-etcd and what is below it show nothing of what a server says that does not speak HTTP/1.1."""
        try:
            self._endpoints.get(endpoint, "/version", until)
        except GrpcOnly:
            return True
        except (OSError, HttpError, LockError):
            pass
        return False


def _tls_error(error: Exception) -> ssl.SSLError | None:
    """Return the cause inside the wrappers of python-etcd and urllib3, if it is TLS."""
    causes: list[object] = [error]
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return cause
        if isinstance(cause, Exception) and len(causes) < 100:
            causes += [getattr(cause, "cause", None), getattr(cause, "reason", None), *cause.args]
    return None


def client_keywords(config: Config, endpoint: tuple[str, int]) -> dict[str, Any]:
    """All keyword arguments of python-etcd's Client, for one endpoint (host, port).

    We resolve names and change endpoints ourselves: python-etcd would wait for ever, take more endpoints from a
    server that is not verified yet, and repeat what must not be repeated. With https, tls.secure() must get the
    client before its first request.
    """
    host, port = endpoint
    cert = config.cert
    return {
        "host": bracketed(host),
        "port": port,
        "srv_domain": None,
        "version_prefix": config.version_prefix,
        "read_timeout": config.read_timeout,
        "allow_redirect": config.allow_redirect,
        "protocol": config.protocol,
        "cert": cert[0] if cert and len(cert) == 1 else cert,
        "ca_cert": config.ca_cert,
        "username": config.username,
        "password": config.password,
        "allow_reconnect": False,
        "use_proxies": True,
        "expected_cluster_id": config.expected_cluster_id,
        "per_host_pool_size": config.per_host_pool_size,
        "lock_prefix": config.lock_prefix,
    }
