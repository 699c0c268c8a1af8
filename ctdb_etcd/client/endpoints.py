# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Where etcd is: the endpoints of the file or of DNS SRV records, their addresses, and connections to them.

The resolver keeps to no deadline, so it runs in threads, one for each name, and costs no more than a moment if there
is an endpoint that needs none: known addresses are tried first. An answer that comes late still counts.
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import contextmanager

from ..errors import GrpcOnly, OtherCluster, Refused
from ..waiting import Patient, Task
from .http1 import Connection, NotSent, Stream, exchange
from .race import Address, ConnectFailed, race
from .retry import reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

    from ..config.parse import Config
    from ..log import Log
    from ..waiting import Waiter
    from .tls import Tls

# Seconds to wait for DNS where older answers are known.
_DNS_GRACE = 0.25
# Seconds to connect to an endpoint that others can answer for. A machine that is up takes a moment; what the network
# loses is sent again after a second, by which a dead machine would delay every takeover.
_IMPATIENT = 0.25
# Why a member that answers is of no use.
NO_LEADER = "it has no leader: it is cut off from the other members, or most of them are down"


class Endpoints:
    """The endpoints of one etcd cluster by their names, `host:port`.

    All that asks them uses their `config`, `waiter` and `log`.
    """

    def __init__(self, config: Config, waiter: Waiter, log: Log) -> None:
        """Raises Refused: a file that TLS needs is unusable."""
        self.config = config
        self.waiter = waiter
        self.log = log
        self._hosts: dict[str, tuple[str, int]] = {}
        self._order: list[str] = []
        self._search: Task | None = None
        self._addresses: dict[str, list[Address]] = {}
        self._doubtful: set[str] = set()
        self._lookups: dict[str, Task] = {}
        self._connected: dict[str, str] = {}
        self._most = float("inf")  # seconds to connect
        self.connections = 0  # to whichever is preferred
        self._tls: Tls | None = None
        self.cluster = config.expected_cluster_id
        self._read_config()

    def _read_config(self) -> None:
        """At the start, and when the file was read again. Raises Refused, nothing is changed then."""
        config = self.config
        if config.protocol == "http":
            self._tls = None
        elif self._tls is None:
            # ssl would take a tenth of a contender's start.
            from .tls import Tls

            self._tls = Tls(config, self.log)
        self._edition = config.edition
        self._domain = config.srv_domain
        self._stale = self._domain is not None
        if self._search:
            self._search.leave()
            self._search = None
        if not self._domain:
            self._adopt(config.hosts)

    def names(self) -> list[str]:
        """All endpoints in the order to try them; with srv_domain none before find()."""
        return list(self._order)

    def host(self, endpoint: str) -> tuple[str, int]:
        """Host and port of an endpoint."""
        return self._hosts[endpoint]

    def address(self, endpoint: str) -> str:
        """The numeric address of an endpoint that was connected to last; empty if none was."""
        return self._connected.get(endpoint, "")

    def impatient(self) -> Endpoints:
        """The same for get(), where an endpoint that cannot be connected to soon is as good as a dead one."""
        own = Endpoints.__new__(Endpoints)
        own.__dict__.update(self.__dict__)
        own._most = _IMPATIENT
        return own

    def apart(self, endpoint: str) -> Endpoints:
        """This endpoint alone, of any cluster, for a thread of its own; only time ends its waits."""
        own = self.impatient()
        own.waiter = Patient()
        own._order, own._addresses = [endpoint], dict(self._addresses)
        own._doubtful, own._lookups, own._connected = set(), {}, {}
        own._stale, own.cluster = False, None
        return own

    def register(self, host: str, port: int) -> str:
        """Add an endpoint that names() does not have; return its name."""
        name = endpoint_name(host, port)
        self._hosts.setdefault(name, (host, port))
        return name

    @property
    def source(self) -> str:
        """The keys of the file that say which endpoints there are, for messages."""
        named = f"the SRV records of {self._domain}" if self._domain else "host"
        return named if self.config.expected_cluster_id is None else f"{named} and expected_cluster_id"

    def doubt(self, *endpoints: str) -> None:
        """These have failed: their names may have other addresses by now, whatever listens at the old ones."""
        # The old ones are used until there is an answer: a holder must not depend on a name server.
        self._doubtful.update(endpoints)

    def failed(self) -> None:
        """No endpoint answers: DNS may name others by now."""
        self._stale = self._domain is not None

    def find(self, until: float) -> None:
        """Ask DNS for the endpoints if necessary. Raises OSError (TimeoutError at the deadline), Refused, Stopped."""
        if self._edition != self.config.edition:
            self._read_config()
        if not self._stale:
            return
        # The previous endpoints may still be right.
        limit = min(until, time.monotonic() + _DNS_GRACE) if self._order else until
        try:
            if self._search is None:
                self._search = Task(self._look_up_members)
            self.waiter.wait({self._search.done: select.POLLIN}, limit)
            search, self._search = self._search, None
            self._adopt(search.result())
            self._stale = False
        except OSError as error:
            if not self._order:
                if isinstance(error, TimeoutError):
                    raise TimeoutError("the name servers give no answer") from None
                raise

    def connect(self, endpoints: list[str], until: float) -> tuple[str, socket.socket]:
        """Connect to one of these, in order; return whichever answers first. Raises ConnectFailed, Stopped."""
        candidates, reasons = self._candidates(endpoints, until)
        try:
            address, sock = race(candidates, self.waiter, min(until, time.monotonic() + self._most))
            self._connected[address.endpoint] = str(address.sockaddr[0])
            return address.endpoint, sock
        except ConnectFailed as error:
            self.doubt(*error.reasons)
            raise ConnectFailed({**reasons, **error.reasons}) from None

    def secure(self, endpoint: str, sock: socket.socket, until: float) -> Connection:
        """Return an HTTP connection over a connected socket. Raises OSError for explain(), Stopped."""
        if self._tls is None:
            return Connection(endpoint, Stream(sock, self.waiter))
        return Connection(endpoint, self._tls.stream(sock, self.waiter, self.host(endpoint)[0], until))

    def open(self, endpoint: str, until: float) -> Connection:
        """A new connection to this one endpoint. Raises ConnectFailed, OSError for explain(), Stopped."""
        _, sock = self.connect([endpoint], until)
        return self.secure(endpoint, sock, until)

    @contextmanager
    def dial(self, endpoint: str, until: float) -> Iterator[Connection]:
        """A connection of its own to this one endpoint.

        Raises OSError (TimeoutError when the time is over), EndpointRefused, Stopped.
        """
        try:
            connection = self.open(endpoint, until)
            try:
                yield connection
            finally:
                connection.close()
        except OSError as error:
            raise self.explain(error, endpoint, until) from None

    def get(self, endpoint: str, path: str, until: float) -> tuple[int, bytes]:
        """HTTP status and body of a GET at this one endpoint. Raises as dial()."""
        with self.dial(endpoint, until) as connection:
            return self.get_over(connection, path, until)

    def get_over(self, connection: Connection, path: str, until: float) -> tuple[int, bytes]:
        """HTTP status and body of a GET over this connection. Raises as Connection.ask."""
        return exchange(connection, self.log, f"GET {path}", "GET", path, None, {}, until)

    def explain(self, error: Exception, endpoint: str, until: float) -> Exception:
        """Return the error of a new connection in words that say what to do, if it is known what. Raises Stopped."""
        if isinstance(error, ConnectFailed):
            return error.reasons[endpoint]
        if not self._tls:
            # What etcd 3.4 does at a port for https only: it closes the connection, or sometimes resets it. Where an
            # answer has come, protocol is right.
            reset = isinstance(error, ConnectionResetError) and not isinstance(error, NotSent)
            if reset and self.cluster == self.config.expected_cluster_id:
                return OSError(f"{reason(error)}: if it speaks https, set protocol = https")
            return error
        host = self.host(endpoint)[0]
        if isinstance(error, ConnectionError):
            try:
                if self._tls.grpc_only(lambda: self.connect([endpoint], until)[1], self.waiter, host, until):
                    return GrpcOnly()
            except (OSError, Refused):
                pass  # the first error says more
        return self._tls.explain(error, host)

    def stay_with(self, cluster: int) -> None:
        """Accept only answers of the expected etcd cluster or, if none is expected, of the cluster of the first answer.

        Raises OtherCluster.
        """
        if self.cluster is None:
            self.cluster = cluster
        if cluster != self.cluster:
            raise OtherCluster(f"it is of cluster {cluster:x}, not {self.cluster:x}: check {self.source}")

    def prefer(self, endpoint: str) -> None:
        """Stay with this one of names(), just connected to; when it fails, continue with the one after it."""
        self.connections += 1
        if endpoint != self._order[0]:
            self.log.info(f"using endpoint {endpoint}")
        at = self._order.index(endpoint)
        self._order = self._order[at:] + self._order[:at]

    def _adopt(self, hosts: list[tuple[str, int]]) -> None:
        found = {endpoint_name(host, port): (host, port) for host, port in hosts}
        # A connection to an endpoint that is no longer named may still be in use.
        self._hosts.update(found)
        self._order = list(found)
        if self._domain:
            self.log.info(f"DNS names these endpoints for {self._domain}: {', '.join(self._order)}")

    def _look_up_members(self) -> list[tuple[str, int]]:
        from . import srv

        assert self._domain
        return srv.look_up(self._domain, self.config.protocol)

    def _candidates(self, endpoints: list[str], until: float) -> tuple[list[Address], dict[str, OSError]]:
        """The addresses known so far, and the reasons why others are not."""
        reasons: dict[str, OSError] = {}
        before = set(self._lookups)
        for endpoint in endpoints:
            if (endpoint not in self._addresses or endpoint in self._doubtful) and endpoint not in self._lookups:
                try:
                    self._look_up(endpoint)
                except OSError as error:
                    reasons[endpoint] = error
        # A lookup that is under way has been waited for already.
        soon = time.monotonic() + (_DNS_GRACE if set(self._lookups) - before else 0)
        while asked := {self._lookups[name].done: name for name in endpoints if name in self._lookups}:
            known = any(name in self._addresses for name in endpoints)
            try:
                ready = self.waiter.wait(dict.fromkeys(asked, select.POLLIN), min(until, soon) if known else until)
            except TimeoutError:
                reasons.update((name, TimeoutError("the name servers give no answer")) for name in asked.values())
                break
            for name in (asked[done] for done in ready):
                try:
                    self._learn(name, self._lookups.pop(name).result())
                except OSError as error:
                    reasons[name] = error
        # An endpoint without a new answer keeps its old addresses.
        return [address for name in endpoints for address in self._addresses.get(name, [])], reasons

    def _look_up(self, endpoint: str) -> None:
        host, port = self._hosts[endpoint]
        self._doubtful.discard(endpoint)
        try:
            # A numeric address needs no name server. As bytes no name needs Python's codec for international names,
            # which takes time to import and raises UnicodeError.
            found = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            self._learn(endpoint, found)
        except socket.gaierror:
            self._lookups[endpoint] = Task(lambda: socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM))

    def _learn(self, endpoint: str, found: list[Any]) -> None:
        self._addresses[endpoint] = [Address(endpoint, family, sockaddr) for family, _, _, _, sockaddr in found]


def endpoint_name(host: str, port: int) -> str:
    """An endpoint's name as URLs write it, for messages too."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
