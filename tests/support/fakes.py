# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Test doubles for clock, waiter, log, holder and lock, whose behaviour a test plans.

They do what the real things do not do on demand. Time passes only where a test moves the clock, so a test takes
milliseconds. Beyond its interface a double only records. Real etcd, processes and networks are elsewhere in this
package.
"""

from __future__ import annotations

import select
import signal
import time
from typing import Any, Callable, Dict, List, Optional, Set, Tuple, TypeVar

from ctdb_etcd.errors import Stopped
from ctdb_etcd.fence import Grant, now

Result = TypeVar("Result")


# Seconds that the machine had slept before the test.
SLEPT = 65536.0


def sent(grant: Grant) -> float:
    """Return the time on the monotonic clock at which a grant's request was sent, unless the machine slept since."""
    return grant.sent - SLEPT


class Killed(BaseException):
    """The kernel timer has ended the process. The program does not catch this, as it cannot catch the real signal."""


class Clock:
    """CLOCK_MONOTONIC, CLOCK_BOOTTIME and the kernel timer. `pass_` and `until` move them; `at` plans actions."""

    def __init__(self, monkeypatch: Any) -> None:
        self.now = 1024.0
        self.slept = SLEPT
        # The times at which the timer was set, each with its seconds; and the time at which it is due.
        self.armed: List[Tuple[float, float]] = []
        self.alarm: Optional[float] = None
        self._when_set: Optional[Callable[[], object]] = None
        self._planned: List[Tuple[float, int, Callable[[], object]]] = []
        real = time.clock_gettime
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(
            time,
            "clock_gettime",
            lambda clock: self.now + self.slept if clock == time.CLOCK_BOOTTIME else real(clock),
        )
        monkeypatch.setattr(signal, "setitimer", self._set)
        monkeypatch.setattr(signal, "getitimer", self._get)

    def when_set(self, action: Callable[[], object]) -> None:
        """Do this once, just before the process sets its timer, as if it had been stopped there."""
        self._when_set = action

    def now_is(self, moment: float) -> None:
        """Set the time without running planned actions or the timer, as while the process is stopped."""
        self.now = moment

    def _set(self, which: int, seconds: float, interval: float = 0.0) -> None:
        assert which == signal.ITIMER_REAL and not interval
        action, self._when_set = self._when_set, None
        if action:
            action()
        self.armed.append((self.now, seconds))
        self.alarm = self.now + seconds if seconds else None

    def _get(self, which: int) -> Tuple[float, float]:
        assert which == signal.ITIMER_REAL
        return (0.0 if self.alarm is None else self.alarm - self.now), 0.0

    def suspend(self, seconds: float) -> None:
        """Suspend the machine: CLOCK_MONOTONIC and the kernel timer stand still."""
        self.slept += seconds

    def at(self, moment: float, action: Callable[[], object]) -> None:
        """Plan an action for a time on the monotonic clock."""
        self._planned.append((moment, len(self._planned), action))

    def next(self) -> float:
        """Return the time of the next planned action."""
        return min((plan[0] for plan in self._planned), default=float("inf"))

    def pass_(self, seconds: float) -> None:
        self.until(self.now + seconds)

    def until(self, moment: float) -> None:
        """Move on to this time and run the actions planned until then, which may raise; raise Killed at the alarm."""
        while True:
            due = min((plan for plan in self._planned if plan[0] <= moment), default=None)
            if self.alarm is not None and self.alarm <= min(moment, due[0] if due else moment):
                self.now = max(self.now, self.alarm)
                raise Killed
            if due is None:
                break
            self._planned.remove(due)
            self.now = max(self.now, due[0])
            due[2]()
        self.now = max(self.now, moment)


class Waiter:
    """A Waiter (and a HelperWaiter) over a Clock: the events that it waits for never come, unless planned."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.stop = ""
        self.releasing = False
        # The deadlines of all waits.
        self.waits: List[float] = []

    def check(self) -> None:
        if self.stop and not self.releasing:
            raise Stopped(self.stop)

    def wait(self, events: Dict[int, int], deadline: float) -> Set[int]:
        self.waits.append(deadline)
        self.check()
        self._clock.until(deadline)
        raise TimeoutError

    def rest(self, events: Dict[int, int], until: float) -> bool:
        self.check()
        self._clock.until(until)
        self.check()
        return False

    def release(self) -> None:
        self.releasing = True

    def stop_at(self, moment: float) -> None:
        """Plan a SIGTERM at this time, which stops whatever waits then."""

        def stop() -> None:
            self.stop = "SIGTERM"
            self.check()

        self._clock.at(moment, stop)


class Log:
    """A log that keeps its lines, each with its level in front: `error: ...`."""

    def __init__(self) -> None:
        self.lines: List[str] = []
        self.lock = ""

    def error(self, text: str) -> None:
        self.lines.append(f"error: {text}")

    def info(self, text: str) -> None:
        self.lines.append(f"info: {text}")

    def debug(self, text: str) -> None:
        self.lines.append(f"debug: {text}")

    def wire(self, text: str) -> None:
        self.lines.append(f"wire: {text}")

    def about(self, lock: str) -> None:
        self.lock = lock


class Holder:
    """The lock holder's identity: a value that no other process writes."""

    def __init__(self, value: str = "us") -> None:
        self.value = value
        self.begun = 0

    def begin(self) -> None:
        self.begun += 1

    def text(self) -> str:
        return self.value


class Lock:
    """A lock whose calls have the outcomes that the test plans; each call takes a quarter of a second.

    `plan` gives the next outcomes of a verb: an exception to raise, a value to return, a function to call for either,
    or None for success. Each call is recorded in `events`, with `name` in front if there is one.
    """

    TOOK = 0.25

    def __init__(self, clock: Clock, events: List[str], ttl: float = 8, name: str = "") -> None:
        self._clock = clock
        self._events = events
        self._plans: Dict[str, List[Any]] = {}
        self.ttl = ttl
        self.endpoint = f"{name or 'etcd1'}:2379"
        self.name = name
        self.deadlines: Dict[str, List[float]] = {}
        # The return value of `changes`.
        self.news: Dict[int, int] = {}

    def plan(self, verb: str, *outcomes: Any) -> None:
        self._plans.setdefault(verb, []).extend(outcomes)

    def _do(self, verb: str, deadline: float) -> Any:
        self._events.append(f"{self.name} {verb}".strip())
        self.deadlines.setdefault(verb, []).append(deadline)
        began = now()
        plans = self._plans.get(verb)
        outcome = plans.pop(0) if plans else None
        self._clock.until(min(self._clock.now + self.TOOK, deadline))
        if callable(outcome):
            outcome = outcome()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome or Grant(began, self.ttl)

    def look(self, contender: object, deadline: float) -> None:
        self._do("look", deadline)

    def take(self, contender: object, deadline: float) -> Grant:
        grant: Grant = self._do("take", deadline)
        return grant

    def changes(self, until: float) -> Dict[int, int]:
        self.deadlines.setdefault("changes", []).append(until)
        return self.news

    def refresh(self, deadline: float) -> Grant:
        grant: Grant = self._do("refresh", deadline)
        return grant

    def release(self, deadline: float) -> None:
        self._do("release", deadline)

    def __str__(self) -> str:
        return self.name or "/the/lock/"


class Poll:
    """select.poll on the fake clock: descriptors are real, but the clock jumps ahead while none of them is ready."""

    def __init__(self, clock: Clock, make: Callable[[], Any]) -> None:
        self._clock = clock
        self._poll = make()

    @classmethod
    def install(cls, monkeypatch: Any, clock: Clock) -> None:
        real = select.poll
        monkeypatch.setattr(select, "poll", lambda: cls(clock, real))

    def register(self, fd: int, events: int) -> None:
        self._poll.register(fd, events)

    def poll(self, milliseconds: Optional[float] = None) -> List[Tuple[int, int]]:
        # The real poll also waits without limit if the timeout is negative.
        endless = milliseconds is None or milliseconds < 0
        until = float("inf") if endless else self._clock.now + (milliseconds or 0) / 1000
        while True:
            ready: List[Tuple[int, int]] = self._poll.poll(0)
            if ready or self._clock.now >= until:
                return ready
            moment = min(until, self._clock.next())
            assert moment < float("inf"), "nothing would ever end this wait"
            self._clock.until(moment)
