# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A lock that is held and can be had nevertheless: from a dead process of this machine, or when its lease ends.

Neither is ever guessed. That a process is dead is proven (see proof.py) and its key goes by a compare of etcd's;
a lease that nobody renews is waited for. Who is in any doubt is contended, which costs no more than time.
"""

from __future__ import annotations

import json
import time

from . import __version__
from .identity import describe
from .lock import Contended, LockError, rest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .lock import Waiter
    from .log import Log
    from .proof import Witness

# A live holder may be late by this many seconds with its renewal before it looks dead.
_LATE = 1.0
# The longest lease in seconds whose end is waited for: CTDB tries again every 5 s anyway.
_LONGEST = 7.0
# etcd looks for leases that have run out twice a second, and what it reports is up to a second less.
_REAPED = 2.0
_PAUSE = 0.2


class Rival:
    """Whoever is in front: what they wrote, and how to learn how many seconds their lease has left."""

    def __init__(self, value: str, left: Callable[[], float]) -> None:
        self.value = value
        self.left = left


class Takeover:
    """Who may be evicted, and for whose end to wait.

    `electing`: CTDB is looking for a new leader. Else it sees in a recovery that the lock is held, for which it
    has little time, and `1` is the good answer.
    """

    def __init__(self, witness: Witness, electing: bool, waiter: Waiter, log: Log) -> None:
        self._witness = witness
        self._electing = electing
        self._waiter = waiter
        self._log = log

    def contend(self, front: Callable[[], Rival | None], deadline: float) -> None:
        """Return once nobody is in front, or only a dead process of this machine. Raises Contended."""
        rival = front()
        until = 0.0
        while rival and not self.is_dead(rival.value):
            left = self._running_out(rival) if self._electing else None
            now = time.monotonic()
            if left is None or (until and now >= until):
                raise Contended(rival.value)
            if not until:
                until = min(deadline, now + left + _REAPED)
                self._log.info(f"waiting for the end of a lease that is not renewed: {describe(rival.value)}")
            rest(self._waiter, now + _PAUSE)
            rival = front()

    def is_dead(self, value: str) -> bool:
        """Whether this value is that of a process of this machine which is provably dead."""
        who = self._ours(value)
        try:
            return bool(who) and self._witness.proves_dead(who)
        except KeyError:
            return False

    def _running_out(self, rival: Rival) -> float | None:
        """Seconds that the lease has left, if that is less than a live holder's ever has; else None."""
        who = self._ours(rival.value)
        try:
            least = who["lock_ttl"] - who["refresh"] - _LATE
            left = max(0.0, rival.left())
        except (KeyError, TypeError, LockError):
            return None
        return left if left < least and left <= _LONGEST else None

    def _ours(self, value: str) -> dict[str, Any]:
        """What a helper of this very version wrote; empty for all others."""
        try:
            who = json.loads(value)
        except (ValueError, RecursionError):
            return {}
        return who if isinstance(who, dict) and who.get("version") == __version__ else {}
