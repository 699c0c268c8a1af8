# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The connections that python-etcd sends its requests over: this package's own, instead of urllib3's.

urllib3 waits where nothing can interrupt it, its time-outs start again with each read, it reads a body of any length,
and it follows redirects anywhere, from https to http as well.
"""

from __future__ import annotations

from select import POLLIN
from urllib.parse import quote, urlencode, urljoin, urlsplit

from ..config.keys import hosts
from ..errors import EndpointRefused
from .endpoints import Endpoints
from .http1 import Connection, HttpError, exchange

# Those that keep method and body. The others turn a write into a GET, which looks as if the write had worked.
_REDIRECTS = (307, 308)
_REDIRECTS_MOST = 3
# What may stand in a request's target as it is (RFC 3986).
_TARGET = "%/?:@!$&'()*+,;=~"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Answer:
    """An answer as python-etcd reads it."""

    def __init__(self, status: int, data: bytes, fields: dict[str, str]) -> None:
        self.status = status
        self.data = data
        self._fields = fields

    def getheaders(self) -> dict[str, str]:
        return self._fields

    def getheader(self, name: str) -> str | None:
        return self._fields.get(name.lower())


class Http:
    """What python-etcd calls of urllib3.PoolManager, for one endpoint. Raises as Connection.ask, EndpointRefused."""

    def __init__(self, endpoints: Endpoints, endpoint: str) -> None:
        self._endpoints = endpoints
        self._endpoint = endpoint
        self._protocol = endpoints.config.protocol
        self._connection: Connection | None = None
        self._operation = ""
        self._until = 0.0

    def begin(self, operation: str, until: float, repeatable: bool) -> None:
        """The next request: its name in the log, its deadline, and whether it may reach etcd twice."""
        self._operation = operation
        self._until = until
        if not repeatable:
            # The endpoint may have closed the idle connection: whether the request reached it would be unknown.
            self.clear()

    def request(
        self, method: str, url: str, fields: dict[str, str] | None, redirect: bool, headers: dict[str, str], **_: object
    ) -> Answer:
        """GET and DELETE."""
        query = f"?{urlencode(fields)}" if fields else ""
        return self._follow(method, _path(url) + query, None, redirect, headers)

    def request_encode_body(
        self, method: str, url: str, fields: dict[str, str], redirect: bool, headers: dict[str, str], **_: object
    ) -> Answer:
        """PUT and POST."""
        return self._follow(method, _path(url), urlencode(fields).encode(), redirect, {**headers, **_FORM})

    def clear(self) -> None:
        """Keep no connection."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def idle(self) -> dict[int, int]:
        """Descriptor and poll event of the end of the connection that is kept, if there is one."""
        kept = self._connection
        return {kept.fileno(): POLLIN} if kept and kept.usable else {}

    def _follow(
        self, method: str, target: str, body: bytes | None, redirect: bool, headers: dict[str, str]
    ) -> Answer:
        answer = self._at_endpoint(method, target, body, headers)
        for _ in range(_REDIRECTS_MOST):
            location = answer.getheader("location")
            if not (redirect and location and answer.status in _REDIRECTS):
                break
            endpoint, target = self._elsewhere(location)
            if endpoint != self._endpoint:
                # Login for the endpoints of the file only.
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            with self._endpoints.dial(endpoint, self._until) as connection:
                answer = self._ask(connection, method, target, body, headers)
        return answer

    def _elsewhere(self, location: str) -> tuple[str, str]:
        """The endpoint and the target that a redirect names."""
        try:
            url = urlsplit(urljoin(f"{self._protocol}://{self._endpoint}/", location))
            ((host, port),) = hosts(url.netloc)
        except ValueError:
            raise HttpError("a redirect to nowhere") from None
        if url.scheme != self._protocol:
            why = f"it redirects from {self._protocol} to {url.scheme}, which is not followed"
            raise EndpointRefused(f"{why}: name in host an endpoint that does not")
        port = port or (443 if url.scheme == "https" else 80)
        query = f"?{url.query}" if url.query else ""
        return self._endpoints.register(host, port), quote(url.path + query, _TARGET)

    def _at_endpoint(self, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        """Ask over the connection in use; over a new one if there is none, or if that one fails."""
        while True:
            kept = self._connection
            try:
                self._connection = kept or self._endpoints.open(self._endpoint, self._until)
                return self._ask(self._connection, method, target, body, headers)
            except BaseException as error:
                self.clear()
                # It may have closed an idle connection, which says nothing about the endpoint.
                if not (kept and isinstance(error, (ConnectionError, HttpError))):
                    raise

    def _ask(
        self, connection: Connection, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> Answer:
        request = method, target, body, headers, self._until
        status, data = exchange(connection, self._endpoints.log, f"v2 {self._operation}", *request)
        try:
            cluster = int(connection.fields.get("x-etcd-cluster-id", ""), 16)
        except ValueError:
            pass  # what answered is not the v2 API
        else:
            self._endpoints.stay_with(cluster)
        return Answer(status, data, connection.fields)


def _path(url: str) -> str:
    return quote("/" + url.partition("://")[2].partition("/")[2])
