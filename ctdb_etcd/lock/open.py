# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Which locks a configuration means: the v3 lock, the v2 lock, or both held as one (api = auto).

With `auto` the v3 lock is always held, so nodes with this helper always exclude each other. The v2 lock is held as
well wherever the cluster serves that API, so that a node that still runs Samba's helper is excluded.

A lock is taken once, refreshed until it is lost or released, and never taken again by the same process. Every verb
takes a deadline (seconds on the monotonic clock) and is over by then.
"""

from __future__ import annotations

import time

from ..client.endpoints import Endpoints
from ..errors import LockError, Lost, OtherCluster, Refused, Unavailable
from ..fence import Grant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Protocol, Sequence

    from ..config.parse import Config
    from ..log import Log
    from ..waiting import Waiter
    from .holder import Key
    from .takeover import Contender

    class Client(Protocol):
        """A client of one API, for reports."""

        @property
        def logged_in(self) -> bool | None:
            """Whether the last request carried a token; None where the API has none."""

        def health(self, endpoint: str, until: float, found: dict[str, Any]) -> None:
            """Put how this one endpoint is into `found`."""

    class Lock(Protocol):
        """A mutex in etcd under a lease."""

        @property
        def endpoint(self) -> str:
            """The endpoint that was asked last, for the log."""

        def look(self, contender: Contender, deadline: float) -> None:
            """Raise Contended if somebody holds the lock, without writing anything; Unavailable, Refused."""

        def take(self, contender: Contender, deadline: float) -> Grant:
            """Take the lock, or raise Contended, Lost, Unavailable, Refused; release() removes what is left then."""

        def refresh(self, deadline: float) -> Grant:
            """Renew the lock, or raise Lost (definite), Unavailable (unknown), Refused."""

        def changes(self, until: float) -> dict[int, int]:
            """Descriptors and poll events which mean that a refresh may find a loss. Raises Stopped."""

        def release(self, deadline: float) -> None:
            """Leave nothing of ours in etcd, or raise Unavailable, Refused; harmless if nothing is there."""

    class ApiLock(Lock, Protocol):
        """The lock in one API, with what one_etcd and reports ask for."""

        def known_at(self, endpoint: str, until: float) -> tuple[int, bool]:
            """The ID of this one endpoint's cluster, and whether our key is there; as long as there is none, our lease.

            For a thread of its own. Raises OSError, LockError where that cannot be learned.
            """

        def members(self, deadline: float) -> list[list[str]]:
            """Of each member of etcd the URLs that it advertises to clients. Raises Unavailable, Refused."""

        def keys(self, deadline: float, most: int) -> tuple[list[Key], str]:
            """The first `most` keys of the lock's directory, the holder's first, without writing.

            And why only one member's memory could be read; empty for a linearizable read. Raises Unavailable, Refused.
            """

        def try_lease(self, deadline: float, meanwhile: Callable[[], None]) -> tuple[float, float] | None:
            """Try to renew a lease: the TTL granted and the time a renewal took, in seconds; None without leases.

            `meanwhile` is called while there is the lease.
            """

        def try_write(self, deadline: float) -> None:
            """Try the permission to write without writing. Raises Unavailable, Refused."""

    # What makes the client and the lock of one API: each lock takes the client of its own API.
    Makers = tuple[Callable[[Endpoints], Client], Callable[[Any, str, int, Log], ApiLock]]

# Seconds that the import of python-etcd takes on a busy machine.
_IMPORT = 1.0


def apis_in_use(config: Config, served: bool | None) -> list[str]:
    """The APIs that the lock is held in, if `served` says whether the cluster serves v2."""
    if config.api != "auto":
        return [config.api]
    return ["3", "2"] if served else ["3"]


def open_lock(config: Config, name: str, elsewhere: Callable[[], str], waiter: Waiter, log: Log) -> Lock:
    """The lock that the configuration means, for the cluster of this netbios name. Raises Refused.

    `elsewhere` returns the address of another machine that takes part in the lock, or an empty text.
    """
    directory = config.directory(name)
    log.about(directory)
    return JointLock(Terms(directory, Endpoints(config, waiter, log), elsewhere))


class Terms:
    """What must be true of etcd before the lock is held, and which locks it consists of: the `first`, and others."""

    def __init__(self, directory: str, endpoints: Endpoints, elsewhere: Callable[[], str]) -> None:
        self._directory = directory
        self._endpoints = endpoints
        self._elsewhere = elsewhere
        _, self.first = open_api(apis_in_use(endpoints.config, None)[0], directory, endpoints)
        # The number of the connection on which v2 was found not to be served; None if that does not matter.
        self._without_v2: int | None = None

    def further(self, deadline: float) -> Sequence[Lock]:
        """The other locks, to be asked for once the first one is seen to be free. Raises Unavailable, Refused."""
        if self._endpoints.config.api != "auto":
            return []
        # Not needed where somebody else holds the lock.
        from .v2_served import v2_served

        connection = self._endpoints.connections
        if not v2_served(self._directory, self._endpoints, deadline):
            self._without_v2 = connection
            return []
        if time.monotonic() + _IMPORT > deadline:
            raise Unavailable("too little time is left to load python-etcd for the v2 API")
        return [open_api("2", self._directory, self._endpoints)[1]]

    def confirm(self, deadline: float) -> None:
        """Find out whether the lock, once taken, must not be held. Raises Refused, Lost, Unavailable."""
        from .one_etcd import confirm

        confirm(self._endpoints, self._elsewhere, self.first, deadline)

    def recheck(self, deadline: float) -> None:
        """Raise Lost if etcd serves v2 by now, where a node with Samba's helper could take the lock as well.

        Asked for each new connection: v2 comes and goes with a restart of the member.
        """
        connection = self._endpoints.connections
        if self._without_v2 in (None, connection):
            return
        from .v2_served import serves_v2_now

        endpoint = self.first.endpoint
        served = serves_v2_now(self._directory, self._endpoints, endpoint, deadline)
        if served:
            raise Lost(f"{endpoint} now serves the v2 API, where a node with Samba's helper could hold the lock")
        if served is False:
            self._without_v2 = connection


def open_api(api: str, directory: str, endpoints: Endpoints) -> tuple[Client, ApiLock]:
    """The client and the lock of one API. Raises Refused."""
    make_client, make_lock = load(api)
    client = make_client(endpoints)
    return client, make_lock(client, directory, endpoints.config.lock_ttl, endpoints.log)


def load(api: str) -> Makers:
    """Import what an API needs, which takes long with v2. Raises Refused."""
    if api == "3":
        from ..client import v3 as client_v3
        from . import v3

        return client_v3.Client, v3.Lock
    try:
        from ..client import v2 as client_v2
        from . import v2

        return client_v2.Client, v2.Lock
    except ImportError as error:
        raise Refused(
            f"etcd's v2 API needs python-etcd, which cannot be imported ({error}): install python3-etcd,"
            " or set api = 3 once no node runs Samba's helper"
        ) from None


class JointLock:
    """A Lock made of several: taken in order, all or none; the loss of one is the loss of all; released in reverse.

    Which ones there are beside the first is asked of `terms` once that one is seen to be free.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._locks: list[Lock] = [terms.first]

    @property
    def endpoint(self) -> str:
        return " and ".join(dict.fromkeys(lock.endpoint for lock in self._locks))

    def look(self, contender: Contender, deadline: float) -> None:
        self._terms.first.look(contender, deadline)
        # Waiting for the end of a lease may have taken all the time until the deadline.
        further = self._terms.further(contender.latest)
        for lock in further:
            lock.look(contender, contender.latest)
        self._locks += further

    def take(self, contender: Contender, deadline: float) -> Grant:
        grant = _first_to_end([lock.take(contender, deadline) for lock in self._locks])
        self._terms.confirm(deadline)
        # What is known of v2 may be old: this process may have been stopped since.
        self._terms.recheck(deadline)
        # The grants aged meanwhile.
        return grant if grant.fresh() else self.refresh(deadline)

    def refresh(self, deadline: float) -> Grant:
        try:
            grant = _first_to_end([lock.refresh(deadline) for lock in self._locks])
        except OtherCluster as refusal:
            raise Lost(f"this is not the etcd that granted it: {refusal}") from None
        self._terms.recheck(deadline)
        return grant

    def changes(self, until: float) -> dict[int, int]:
        events: dict[int, int] = {}
        for lock in self._locks:
            events.update(lock.changes(until))
        return events

    def release(self, deadline: float) -> None:
        failure: LockError | None = None
        for at, lock in reversed(list(enumerate(self._locks, 1))):
            now = time.monotonic()
            try:
                # A lock that hangs must leave time for the others.
                lock.release(now + (deadline - now) / at)
            except (Unavailable, Refused) as error:
                failure = error
        if failure:
            raise failure

    def __str__(self) -> str:
        return " and ".join(map(str, self._locks))


def _first_to_end(grants: list[Grant]) -> Grant:
    """The grant that ends first, judged once all are there: the others age until the last one comes."""
    return min(grants, key=Grant.usable)
