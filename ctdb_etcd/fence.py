# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The fence: the process is gone before its lease can end. The one inequality of times lives here.

A lease counts from the moment *before* the request that granted or renewed it was sent, for as long as the
server granted, less a margin. The kernel's real-time timer is set to that moment and SIGALRM keeps its default
action. So the process ends in time even if Python is blocked in a resolver, a full pipe or a stuck disk, or was
stopped and is continued later. The limit: it trusts the rate of this machine's clock.
"""

from __future__ import annotations

import signal
import time

from .errors import Lost

# The shortest time in seconds in which one try at an endpoint is worth making.
LEAST_TRY = 1.0

# The longest lease in seconds: etcd's (MaxLeaseTTL in lease/lessor.go). The kernel's timer takes no more either.
TTL_MAX = 9_000_000_000

# Seconds by which the first timer may be late, out of the margin. If it is later, the process was stopped meanwhile.
_LATE = 0.05


def now() -> float:
    """Seconds on the clock that leases count by: CLOCK_MONOTONIC plus the time that the machine has slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Grant:
    """A lease as the server granted it: ttl seconds, counted from before the request was sent, by now()."""

    def __init__(self, sent: float, ttl: float) -> None:
        self.sent = sent
        self.ttl = ttl

    def age(self) -> float:
        return now() - self.sent

    def left(self) -> float:
        """Seconds until the lease may end (negative: it may have)."""
        return self.ttl - self.age()

    def usable(self) -> float:
        """Seconds for which a lock under this lease is ours."""
        return self.left() - margin(self.ttl)

    def fresh(self) -> bool:
        """Whether more than half of the lease is left: enough to begin to hold with it."""
        return self.left() > self.ttl / 2


def margin(ttl: float) -> float:
    """Seconds before a lease's end by which its holder is gone."""
    return min(1.0, ttl / 4)


def fits(ttl: float, refresh: float, one_try: float) -> bool:
    """THE inequality of times: after a refresh that fails there is time for two tries of so many seconds each."""
    return refresh + 2 * one_try <= ttl - margin(ttl)


class Fence:
    """The kernel timer that ends this process margin(ttl) seconds before its lease ends."""

    def __init__(self, grant: Grant) -> None:
        """Raises Lost if nothing of the grant is left once the timer is set."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        self._grant = grant
        # A stop between left() and setitimer() makes the timer late. CTDB has not read `0` yet: set it again.
        while self._set() > self.left() + _LATE or self.left() <= 0:
            pass

    def arm(self, grant: Grant) -> None:
        """Count from this grant, of a renewal, from now on. Raises Lost if nothing of it is left.

        A holder cannot set a late timer again, because it can be stopped once more before it does. So a stop that
        would make the timer late by more than a quarter of the margin ends the process.
        """
        late = margin(grant.ttl) / 4
        armed = signal.getitimer(signal.ITIMER_REAL)[0]
        if armed <= grant.usable() and grant.usable() - self.left() < late:
            return  # renewed again at once: the timer is good, and the next line could make it late
        signal.setitimer(signal.ITIMER_REAL, late)
        self._grant = grant
        self._set()

    def _set(self) -> float:
        """Set the timer; return to how many seconds."""
        left = self.left()
        if left <= 0:
            raise Lost("nothing is left of its lease: etcd answered too late, or this process was stopped")
        signal.setitimer(signal.ITIMER_REAL, left)
        return left

    def left(self) -> float:
        """Seconds for which the lock is still ours."""
        return self._grant.usable()
