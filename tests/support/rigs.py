# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A real lock of either API on its fake etcd: only slow parts are replaced by doubles."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Set

from ctdb_etcd import __version__
from ctdb_etcd.fence import Grant
from ctdb_etcd.lock import v3
from ctdb_etcd.lock.takeover import Contender

from .fake_v3 import EtcdV3, Gateway
from .fake_wire import Request, Wire
from .fakes import Clock, Holder, Log, Waiter

# Seconds that a request takes without a fault.
ONE = Wire.OUT + Wire.BACK
TTL = 8
DEAD = 4711


class NonceFile:
    """A nonce file that proves that the processes with the pids in `dead` are dead."""

    def __init__(self) -> None:
        self.dead: Set[object] = {DEAD}

    def proves_dead(self, who: Dict[str, Any]) -> bool:
        return who.get("pid") in self.dead


def value(pid: int, **fields: object) -> str:
    """Return the value that a helper of this version writes."""
    return json.dumps({"version": __version__, "pid": pid, "node": "n", "pnn": 1, "since": "", **fields})


class Rig:
    """The common part of both rigs. Our lock has the value `us`; all others write other values."""

    directory = "/_locks/_ctdb/X/"
    lock: Any
    etcd: Any
    wire: Wire

    def __init__(self, monkeypatch: Any, electing: bool = False) -> None:
        self.clock = Clock(monkeypatch)
        self.waiter, self.log = Waiter(self.clock), Log()
        self._electing = electing
        # The latest time to which the lock waits for the end of a lease.
        self.latest = self.clock.now + 60
        self.contender = self.contender_as("us")

    def contender_as(self, text: str) -> Contender:
        """Return a contender that writes this value."""
        parts: List[Any] = [Holder(text), NonceFile(), self._electing, self.latest, self.waiter, self.log]
        return Contender(*parts)

    def wait_until(self, seconds: float) -> None:
        """Limit the wait for the end of a lease to this many seconds from now."""
        self.latest = self.clock.now + seconds
        self.contender = self.contender_as("us")

    def take_as(self, text: str) -> Grant:
        """Take the lock as another process that writes this value."""
        grant: Grant = self.another().take(self.contender_as(text), self.deadline)
        return grant

    def another(self) -> Any:
        """Return the same lock as another process has it."""
        raise NotImplementedError

    @property
    def deadline(self) -> float:
        """A deadline far enough for tests that are not about deadlines."""
        return self.clock.now + 60

    def do(self, verb: str, deadline: float) -> Any:
        """Call a verb of the lock by its name."""
        who = [self.contender] if verb in ("look", "take") else []
        return getattr(self.lock, verb)(*who, deadline)

    def look(self) -> None:
        self.lock.look(self.contender, self.deadline)

    def take(self) -> Grant:
        grant: Grant = self.lock.take(self.contender, self.deadline)
        return grant

    def refresh(self) -> Grant:
        grant: Grant = self.lock.refresh(self.deadline)
        return grant

    def release(self) -> None:
        """Release the lock as the helper does at its end."""
        self.waiter.release()
        self.lock.release(self.clock.now + 5)

    def held(self) -> None:
        """Take the lock and forget the requests that this took."""
        self.take()
        self.wire.requests.clear()

    def asked(self, name: str) -> List[Request]:
        return [request for request in self.wire.requests if request.name == name]

    def values(self) -> List[str]:
        """Return the values of all keys, the holder's first."""
        return list(self.etcd.keys.values())


class RigV3(Rig):
    """The rig of the v3 lock. Requests are named by their paths: `kv/range`."""

    def __init__(self, monkeypatch: Any, electing: bool = False) -> None:
        super().__init__(monkeypatch, electing)
        self.etcd = EtcdV3(self.clock)
        self.gateway = Gateway(self.etcd, self.clock, self.waiter)
        self.wire = self.gateway.wire
        self.lock = self.another()

    def another(self) -> Any:
        parts: List[Any] = [self.gateway, self.directory, TTL, self.log]
        return v3.Lock(*parts)


class RigV2(Rig):
    """The rig of the v2 lock, which needs python-etcd. Requests are named by their methods: `GET`."""

    def __init__(self, monkeypatch: Any, electing: bool = False) -> None:
        from .fake_v2 import EtcdV2, Members

        super().__init__(monkeypatch, electing)
        self.etcd = EtcdV2(self.clock)
        self.members = Members(self.etcd, self.clock, self.waiter)
        self.wire = self.members.wire
        self.lock = self.another()

    def another(self) -> Any:
        from ctdb_etcd.lock import v2

        parts: List[Any] = [self.members, self.directory, TTL, self.log]
        return v2.Lock(*parts)

    def key(self, number: int) -> str:
        """Return the name of an in-order key."""
        return f"{self.directory}{number:020}"
