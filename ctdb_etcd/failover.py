# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Trying on: round after round over the endpoints, until one answers or the deadline has come.

The first round without an answer is told in CTDB's log, and the end of the silence; nothing in between. Of silences
that come and go one in a minute is told.
"""

from __future__ import annotations

import time
from os import close, pipe
from select import POLLIN

from .lock import Refused, Unavailable, rest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, TypeVar

    from .lock import Waiter
    from .log import Log

    Answer = TypeVar("Answer")

_PAUSE_FIRST, _PAUSE_MOST = 0.1, 1.0
# What etcd 3.4 does at a port for https only.
CLOSED = "the connection was closed without an answer: perhaps it needs protocol = https"
# Seconds from one silence that is told without -vv to the next.
_NEWS = 60.0
_SILENCE = "no endpoint of etcd answers, trying on: "


class EndpointRefused(Refused):
    """This endpoint will not do; another one may."""


class OtherCluster(EndpointRefused):
    """What answers here is not the cluster that the file expects."""


class Failover:
    """What all calls to one cluster share: since when it has been silent."""

    def __init__(self, waiter: Waiter, log: Log) -> None:
        self._waiter = waiter
        self._log = log
        self._silent_since: float | None = None
        self._news_at = float("-inf")
        self._tell = log.error
        self._untold = 0

    def call(
        self, attempt: Callable[[dict[str, Exception]], Answer | None], deadline: float, silence: str = _SILENCE
    ) -> Answer:
        """Repeat `attempt` until it returns something; it is a round over all endpoints and notes their failures.

        `silence` is what the log says before the failures of a round that returns nothing.

        Raises Unavailable at the deadline (monotonic seconds), Refused if no endpoint will ever do, and whatever
        attempt raises.
        """
        pause = _PAUSE_FIRST
        while True:
            self._waiter.check()
            failures: dict[str, Exception] = {}
            answer = attempt(failures)
            if answer is not None:
                self._answered()
                return answer
            reasons = "; ".join(f"{endpoint}: {reason(error)}" for endpoint, error in failures.items())
            if all(isinstance(error, EndpointRefused) for error in failures.values()):
                kinds = {type(error) for error in failures.values()}
                raise OtherCluster(reasons) if kinds == {OtherCluster} else Refused(reasons)
            self._silent(silence + reasons)
            if time.monotonic() + pause >= deadline:
                raise Unavailable(f"etcd gave no answer in time: {reasons}")
            rest(self._waiter, time.monotonic() + pause)
            pause = min(2 * pause, _PAUSE_MOST)

    def _silent(self, text: str) -> None:
        now = time.monotonic()
        if self._silent_since is not None:
            self._log.debug(text)
            return
        self._silent_since = now
        if now >= self._news_at:
            self._tell = self._log.error
            self._tell(text + (f" (and {self._untold} times since it was last told)" if self._untold else ""))
            self._news_at, self._untold = now + _NEWS, 0
        else:
            self._tell = self._log.debug
            self._tell(text)
            self._untold += 1

    def _answered(self) -> None:
        if self._silent_since is not None:
            self._tell(f"etcd answers again after {time.monotonic() - self._silent_since:.1f} s")
            self._silent_since = None


def endpoint_name(host: str, port: int) -> str:
    """What messages call an endpoint."""
    return f"{bracketed(host)}:{port}"


def bracketed(host: str) -> str:
    """A host as URLs want it."""
    return f"[{host}]" if ":" in host else host


def share(deadline: float, untried: int, most: float) -> float:
    """The moment until which one of the endpoints untried may take: there is to be time for another try."""
    now = time.monotonic()
    return now + min(most, (deadline - now) / max(2, untried))


def reason(error: Exception) -> str:
    """Why an endpoint failed, for a line of the log."""
    text = error.strerror if isinstance(error, OSError) else None
    return text or str(error) or type(error).__name__


class Task:
    """A function that keeps to no deadline (a resolver, a library), run in a thread; it can be left behind."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._outcome: list[Any] = []
        # Not for those whose endpoints are numbers.
        import threading

        self.done, self._finished = pipe()
        threading.Thread(target=self._run, args=(function,), daemon=True).start()

    def _run(self, function: Callable[[], Any]) -> None:
        try:
            self._outcome.append(function())
        except Exception as error:
            self._outcome.append(error)
        finally:
            close(self._finished)

    def result(self) -> Any:
        """What it returned, or raise what it raised, once the descriptor `done` is ready; to be called once."""
        close(self.done)
        if isinstance(self._outcome[0], Exception):
            raise self._outcome[0]
        return self._outcome[0]


def aside(function: Callable[[], Any], waiter: Waiter, deadline: float) -> Any:
    """Run a Task, and leave it behind when time is over.

    Returns what it returns and raises what it raises; TimeoutError at the deadline, Stopped.
    """
    task = Task(function)
    try:
        waiter.wait({task.done: POLLIN}, deadline)
    except BaseException:
        close(task.done)
        raise
    return task.result()
