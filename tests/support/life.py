# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The run of one helper over a lock whose behaviour the test plans, on a fake clock.

A test module assigns the fixture to a name of its own: `life = life_fixture`.
"""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any, List, Optional

import pytest

from ctdb_etcd.ctdb.hold import LAST_CHANCE, run
from ctdb_etcd.fence import Grant, margin, now

from .fakes import Clock, Lock, Log, Waiter, sent

TTL, REFRESH, ACQUIRE = 9, 2.0, 4.0
TOOK = Lock.TOOK


class Life:
    """One helper's run over a lock whose behaviour the test plans; `events` records what happens, in order."""

    def __init__(self, monkeypatch: Any) -> None:
        self.clock = Clock(monkeypatch)
        self.waiter, self.log = Waiter(self.clock), Log()
        self.events: List[str] = []
        self.lock = Lock(self.clock, self.events, TTL)
        nonce_file = SimpleNamespace(leave=lambda: self.note("nonce file"), remove=lambda: self.note("no nonce file"))
        self.deadline = self.clock.now + ACQUIRE
        self.contender = SimpleNamespace(nonce_file=nonce_file, latest=self.deadline + LAST_CHANCE)
        self.written = ""
        self.alarm_when_written: Optional[float] = None

    def note(self, event: str) -> None:
        self.events.append(event)

    def write(self, character: str) -> None:
        if not self.written:
            self.note(f"say {character}")
            self.written = character
            self.alarm_when_written = self.clock.alarm

    def fail(self, error: object) -> None:
        self.note("fail")

    def end(self) -> None:
        self.note("end stdout")

    def run(self, refresh: float = REFRESH) -> None:
        contender: Any = self.contender
        parts: Any = self.lock, contender, self.deadline, self.waiter, self, self.log
        run(refresh, *parts)

    def granted(self, ttl: float = TTL, age: float = 0.0) -> Grant:
        """Return a grant whose request was sent `age` seconds ago."""
        return Grant(now() - age, ttl)


@pytest.fixture
def life(monkeypatch: pytest.MonkeyPatch) -> Life:
    life = Life(monkeypatch)
    monkeypatch.setattr(gc, "enable", lambda: life.note("gc"))
    return life


def end_of(grant: Grant) -> float:
    """Return the monotonic time at which the process must be gone."""
    return sent(grant) + grant.ttl - margin(grant.ttl)
