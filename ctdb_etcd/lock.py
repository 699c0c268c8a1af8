# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What a lock is to the helper, and what can go wrong with one.

A lock is taken once, refreshed until it is lost or given back, and never taken again by the same process.
Every method takes a deadline (seconds on the monotonic clock) and is over by then. Several locks can be held
as one: all or none of them.
"""

from __future__ import annotations

import time

from .fence import usable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Protocol

    from .fence import Grant

    class Waiter(Protocol):
        """How the lock's code waits: bounded, and woken by whatever ends the helper."""

        def check(self) -> None:
            """Raise Stopped if the helper has to end; called before work begins."""

        def wait(self, events: dict[int, int], deadline: float) -> set[int]:
            """Return the descriptors that are ready for their poll events; TimeoutError at the deadline."""

    class Lock(Protocol):
        """A mutex in etcd under a lease."""

        @property
        def endpoint(self) -> str:
            """The endpoint that was asked last, for the log."""

        def look(self, deadline: float) -> None:
            """Raise Contended if somebody holds the lock, without writing anything; Unavailable, Refused."""

        def take(self, deadline: float) -> Grant:
            """Take the lock, or raise Contended, Unavailable, Refused; what is left then is for release."""

        def refresh(self, deadline: float) -> Grant:
            """Renew the lock, or raise Lost (definite), Unavailable (unknown), Refused."""

        def release(self, deadline: float) -> None:
            """Leave nothing of ours in etcd, or raise Unavailable, Refused; harmless if nothing is there."""


class LockError(Exception):
    """Base of everything that a lock raises."""


class Contended(LockError):
    """Somebody else holds the lock; `value` is what they wrote into it."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value


class Lost(LockError):
    """The lock was ours and definitely is no longer."""


class Unavailable(LockError):
    """etcd gave no usable answer in time; waiting may mend it."""


class Refused(LockError):
    """etcd gave an answer that waiting cannot mend: the text says what to do."""


class Stopped(Exception):
    """The helper has to end now (a signal, the parent, the reader of stdout); raised by a Waiter."""


def rest(waiter: Waiter, until: float) -> None:
    """Wait for a moment to come (monotonic seconds). Raises Stopped."""
    try:
        waiter.wait({}, until)
    except TimeoutError:
        pass


class Several:
    """Locks held as one: taken in order, all or none; the loss of any is the loss; given back in reverse.

    `more` is asked for further locks (by a deadline) once the first ones are seen to be free.
    """

    def __init__(self, locks: list[Lock], more: Callable[[float], list[Lock]]) -> None:
        self._locks = list(locks)
        self._more = more

    @property
    def endpoint(self) -> str:
        """See Lock.endpoint."""
        return " and ".join(dict.fromkeys(lock.endpoint for lock in self._locks))

    def look(self, deadline: float) -> None:
        """See Lock.look."""
        for lock in self._locks:
            lock.look(deadline)
        further = self._more(deadline)
        for lock in further:
            lock.look(deadline)
        self._locks += further

    def take(self, deadline: float) -> Grant:
        """See Lock.take."""
        grant = _oldest([lock.take(deadline) for lock in self._locks])
        # The first ones aged while the last was taken.
        return grant if grant.left() > grant.ttl / 2 else self.refresh(deadline)

    def refresh(self, deadline: float) -> Grant:
        """See Lock.refresh."""
        return _oldest([lock.refresh(deadline) for lock in self._locks])

    def release(self, deadline: float) -> None:
        """See Lock.release."""
        failure: LockError | None = None
        for at, lock in reversed(list(enumerate(self._locks, 1))):
            now = time.monotonic()
            try:
                # One that hangs must leave time for the others.
                lock.release(now + (deadline - now) / at)
            except (Unavailable, Refused) as error:
                failure = error
        if failure:
            raise failure

    def __str__(self) -> str:
        return " and ".join(map(str, self._locks))


def _oldest(grants: list[Grant]) -> Grant:
    """The one that ends first, once all are there: each ages while the next one is waited for."""
    return min(grants, key=usable)
