# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What a lock is to the helper, and what can go wrong with one.

A lock is acquired once, refreshed until it is lost or given back, and never acquired again by the same
process. Every method takes a deadline (seconds on the monotonic clock) and is over by then.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Protocol, Set

    from .fence import Grant

    class Waiter(Protocol):
        """How the lock's code waits: bounded, and woken by whatever ends the helper."""

        def check(self) -> None:
            """Raise Stopped if the helper has to end; called before work begins."""

        def wait(self, events: Dict[int, int], deadline: float) -> Set[int]:
            """Return the descriptors that are ready for their poll events; TimeoutError at the deadline."""

    class Lock(Protocol):
        """A mutex in etcd under a lease."""

        def acquire(self, deadline: float) -> Grant:
            """Take the lock, or raise Contended, Unavailable, Refused."""

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
