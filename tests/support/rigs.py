# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A lock of either API on its fake etcd, with all that the product joins to it: only what is slow is a double."""

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

# Seconds that a request takes if nothing happens to it.
ONE = Wire.OUT + Wire.BACK
TTL = 8
DEAD = 4711


class NonceFile:
    """Which processes are provably dead, by their pid."""

    def __init__(self) -> None:
        self.dead: Set[object] = {DEAD}

    def proves_dead(self, who: Dict[str, Any]) -> bool:
        return who["pid"] in self.dead


def value(pid: int, **fields: object) -> str:
    """What a helper of this version writes."""
    return json.dumps({"version": __version__, "pid": pid, "node": "n", "pnn": 1, "since": "", **fields})


class Rig:
    """What both have in common: the lock is ours, `us`; everybody else writes something else."""

    directory = "/_locks/_ctdb/X/"
    lock: Any
    etcd: Any
    wire: Wire

    def __init__(self, monkeypatch: Any, electing: bool = False) -> None:
        self.clock = Clock(monkeypatch)
        self.waiter, self.log = Waiter(self.clock), Log()
        self._electing = electing
        # Until when the end of a lease is waited for.
        self.latest = self.clock.now + 60
        self.contender = self.contender_as("us")

    def contender_as(self, text: str) -> Contender:
        """Who writes this value."""
        parts: List[Any] = [Holder(text), NonceFile(), self._electing, self.latest, self.waiter, self.log]
        return Contender(*parts)

    def wait_until(self, seconds: float) -> None:
        """Wait so long, from now on, for the end of a lease."""
        self.latest = self.clock.now + seconds
        self.contender = self.contender_as("us")

    def take_as(self, text: str) -> Grant:
        """Let another process, which writes this value, take the lock."""
        grant: Grant = self.another().take(self.contender_as(text), self.deadline)
        return grant

    def another(self) -> Any:
        """The same lock in another process."""
        raise NotImplementedError

    @property
    def deadline(self) -> float:
        """Far enough to be met by what is not about deadlines."""
        return self.clock.now + 60

    def do(self, verb: str, deadline: float) -> Any:
        """One verb of the lock by its name."""
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
        """As the helper does it, after whatever ended the lock."""
        self.waiter.release()
        self.lock.release(self.clock.now + 5)

    def held(self) -> None:
        """Take the lock and forget how."""
        self.take()
        self.wire.requests.clear()

    def asked(self, name: str) -> List[Request]:
        return [request for request in self.wire.requests if request.name == name]

    def values(self) -> List[str]:
        """What stands in the keys, the holder's first."""
        return list(self.etcd.keys.values())


class RigV3(Rig):
    """Requests are named by their paths: `kv/range`."""

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
    """Requests are named by their methods: `GET`. python-etcd must be there."""

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
        """The name of an in-order key."""
        return f"{self.directory}{number:020}"
