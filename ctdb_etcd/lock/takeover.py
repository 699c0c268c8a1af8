# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A lock that is held and can be taken nevertheless: from a dead process of this machine, or when its lease ends.

Neither is guessed. The death of a process is proven, and its key is replaced under a compare of etcd's. A contender
waits for the end of a lease that nobody renews. If in doubt, report contention: that costs only time.

The proof: of two machines that continue from one snapshot each has the other's boot ID, and none of the processes that
the other has started since. So a holder leaves a random number, the nonce, where only processes of the same running
machine find it. Only a contender that finds that number may conclude that the process is gone.
"""

from __future__ import annotations

import os
import time

from .. import __version__
from ..errors import Contended, LockError, Unavailable
from ..waiting import rest
from .holder import describe, process_state, read, surroundings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ..log import Log
    from ..waiting import Waiter
    from .holder import Holder, Key

# A directory of CTDB's that is empty after each boot.
_RUN = "/run/ctdb"
# A live holder may be late by this many seconds with its renewal before it looks dead.
_LATE = 1.0
# etcd looks for expired leases twice a second, and reports up to a second less than is left.
_EXPIRY_DELAY = 2.0
_PAUSE = 0.2


class Contender:
    """Who we are, whom we may evict, and whose lease we wait for.

    `electing`: CTDB is electing a leader. Otherwise it checks in a recovery that the lock is held, for which it has
    little time, and `1` is the good answer.
    """

    def __init__(
        self, holder: Holder, nonce_file: NonceFile, electing: bool, latest: float, waiter: Waiter, log: Log
    ) -> None:
        """`latest` is the moment (monotonic seconds) after which no lease's end is waited for."""
        self.holder = holder
        self.nonce_file = nonce_file
        self._electing = electing
        self.latest = latest
        self._waiter = waiter
        self._log = log

    def contend(
        self, front: Callable[[float], Key | None], left_of: Callable[[Key, float], float], deadline: float
    ) -> None:
        """Return once nobody is in front, or only a dead process of this machine.

        `front` asks for the key in front by a deadline, `left_of` for the seconds that are left of its lease.

        Raises Contended, Unavailable, Refused, Stopped.
        """
        rival = front(deadline)
        until = 0.0
        while rival and not self.is_dead(rival.value):
            now = time.monotonic()
            left = self._running_out(rival, left_of, max(deadline, until)) if self._electing else None
            if left is None or now + left > self.latest or (until and now >= until):
                raise Contended(rival.value)
            if not until:
                until = min(self.latest, now + left + _EXPIRY_DELAY)
                self._log.info(f"waiting for the end of a lease that is not renewed: {describe(rival.value)}")
            rest(self._waiter, min(until, now + _PAUSE))
            seen = rival.value
            try:
                rival = front(self.latest)
            except Unavailable:
                raise Contended(seen) from None  # held when last seen

    def pause(self, deadline: float) -> None:
        """Wait a moment before another try, no longer than until the deadline. Raises Stopped."""
        rest(self._waiter, min(deadline, time.monotonic() + _PAUSE))

    def is_dead(self, value: str) -> bool:
        """Whether this value belongs to a process of this machine that is provably dead."""
        return self.nonce_file.proves_dead(_ours(value))

    def _running_out(self, rival: Key, left_of: Callable[[Key, float], float], deadline: float) -> float | None:
        """Seconds that the lease has left, if that is less than a live holder's ever has; None otherwise."""
        who = _ours(rival.value)
        try:
            least = who["lock_ttl"] - who["refresh"] - _LATE
            left = max(0.0, left_of(rival, deadline))
        except (KeyError, LockError):
            return None
        return left if left < least else None


class NonceFile:
    """The file in which the last holder of one lock (by the cluster's name) on this machine left its nonce."""

    def __init__(self, name: str, nonce: str) -> None:
        self._path = f"{_RUN}/ctdb_etcd_lock.{name}"
        self._nonce = nonce

    def leave(self) -> None:
        """Leave ours. Raises OSError where that is not possible, which costs only time at a takeover."""
        os.makedirs(_RUN, 0o755, exist_ok=True)
        # Without following links: root writes here.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(self._path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(self._nonce)

    def remove(self) -> None:
        """Remove ours, but not one that a successor has left."""
        try:
            if self._found() == self._nonce:
                os.unlink(self._path)
        except OSError:
            pass

    def proves_dead(self, who: dict[str, Any]) -> bool:
        """Whether the process of this value, as holder.proof() writes it, ran on this machine and is gone."""
        try:
            if self._found() != who["nonce"]:
                return False
            here = surroundings()
            return {key: who[key] for key in here} == here and _gone(who["pid"], who["start_time"])
        except (OSError, KeyError):
            return False

    def _found(self) -> str:
        with open(self._path, encoding="utf-8", errors="replace") as file:
            return file.read(64)


def _gone(pid: object, start_time: object) -> bool:
    if type(pid) is not int or type(start_time) is not int or pid <= 1:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    # From here on /proc is read, which may belong to another PID namespace.
    if os.readlink("/proc/self") != str(os.getpid()):
        return False
    state, started = process_state(str(pid))
    # A zombie is dead too, but not while other threads of it still run.
    return started != start_time or (state in "ZX" and os.listdir(f"/proc/{pid}/task") == [str(pid)])


def _ours(value: str) -> dict[str, Any]:
    """The value of a helper of exactly this version; an empty one for all others."""
    who = read(value)
    return who if who.get("version") == __version__ else {}
