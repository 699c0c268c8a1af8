# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The fence: the process is gone before its lease can be.

A lease counts from the moment *before* the request that granted or renewed it was sent, for as long as the
server said, less a margin. The kernel's real-time timer is set to that moment and SIGALRM keeps its default
action, so the process ends in time even if Python hangs in a resolver, a full pipe or a stuck disk, or was
stopped and is continued later. What it cannot do: count differently from the machine's own clock rate.
"""

from __future__ import annotations

import signal
import time

# The least that the timer is set to: zero would disarm it.
_AT_ONCE = 1e-6


class Moment:
    """A point in time, in seconds on two clocks: only the second goes on while the machine sleeps."""

    def __init__(self, monotonic: float, boottime: float) -> None:
        self.monotonic = monotonic
        self.boottime = boottime

    @classmethod
    def now(cls) -> Moment:
        return cls(time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))


class Grant:
    """A lease as the server granted it: ttl seconds, counted from before the request was sent."""

    def __init__(self, sent: Moment, ttl: float) -> None:
        self.sent = sent
        self.ttl = ttl

    def left(self) -> float:
        """Seconds until the lease may end (negative: it may have), on the clock that says it sooner."""
        now = Moment.now()
        passed = max(now.monotonic - self.sent.monotonic, now.boottime - self.sent.boottime)
        return self.ttl - passed


def margin(ttl: float) -> float:
    """Seconds before a lease's end by which its holder is gone."""
    return min(1.0, ttl / 4)


def usable(grant: Grant) -> float:
    """Seconds for which the lock of this grant is still ours."""
    return grant.left() - margin(grant.ttl)


class Fence:
    """The kernel timer that ends this process margin(ttl) seconds before its lease."""

    def __init__(self, grant: Grant) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        self.arm(grant)

    def arm(self, grant: Grant) -> None:
        """Count from this grant now. Ends the process at once if it is too old already."""
        self._grant = grant
        signal.setitimer(signal.ITIMER_REAL, max(self.left(), _AT_ONCE))

    def left(self) -> float:
        """Seconds for which the lock is still ours."""
        return usable(self._grant)
