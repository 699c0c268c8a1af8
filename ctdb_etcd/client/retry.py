# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Keep trying: round after round over the endpoints, until one answers or the deadline has come.

CTDB's log gets one line for the first round without an answer and one for the first answer after it. Repeated
outages are logged once a minute.
"""

from __future__ import annotations

import time

from ..errors import EndpointRefused, GrpcOnly, OtherCluster, Refused, TooLong, Unavailable
from ..waiting import rest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, TypeVar

    from ..log import Log
    from ..waiting import Waiter

    Answer = TypeVar("Answer")

_PAUSE_FIRST, _PAUSE_MOST = 0.1, 0.3
# Seconds from one outage that is logged without -vv to the next.
_LOG_INTERVAL = 60.0
_NO_ANSWER = "no etcd endpoint answers, still trying: "


class Retry:
    """What all calls to one cluster share: since when no endpoint has answered."""

    def __init__(self, waiter: Waiter, log: Log, again: Callable[[], bool] = lambda: False) -> None:
        """`again` reads the file again and returns whether it has changed, so that another try may do better."""
        self._again = again
        self._waiter = waiter
        self._log = log
        self._failing_since: float | None = None
        self._log_again_at = float("-inf")
        self._unlogged = 0  # outages, the present one included

    def call(
        self, attempt: Callable[[dict[str, Exception]], Answer | None], deadline: float, news: str = _NO_ANSWER
    ) -> Answer:
        """Repeat `attempt` until it returns something; it tries each endpoint once and notes their failures.

        An endpoint whose failure is noted already can only fail again, so it is skipped.

        `news` is what the log says before the failures of a round that returns nothing.

        Raises Unavailable at the deadline (monotonic seconds), TooLong, Refused if no endpoint will ever do, and
        whatever attempt raises.
        """
        pause = _PAUSE_FIRST
        failures: dict[str, Exception] = {}
        while True:
            self._waiter.check()
            failures = {endpoint: error for endpoint, error in failures.items() if isinstance(error, GrpcOnly)}
            try:
                answer = attempt(failures)
                if answer is not None:
                    self._answered()
                    return answer
                reasons = "; ".join(f"{endpoint}: {reason(error)}" for endpoint, error in failures.items())
                if failures and all(isinstance(error, EndpointRefused) for error in failures.values()):
                    kinds = {type(error) for error in failures.values()}
                    raise OtherCluster(reasons) if kinds == {OtherCluster} else Refused(reasons)
            except Refused:
                if time.monotonic() < deadline and self._again():
                    continue
                raise
            if any(isinstance(error, TooLong) for error in failures.values()):
                raise TooLong(reasons)
            self._failed(news + reasons)
            if time.monotonic() + pause >= deadline:
                raise Unavailable(f"etcd gave no answer in time: {reasons}")
            if self._again():
                continue
            rest(self._waiter, time.monotonic() + pause)
            pause = min(2 * pause, _PAUSE_MOST)

    def _failed(self, text: str) -> None:
        now = time.monotonic()
        begins = self._failing_since is None
        if begins and now >= self._log_again_at:
            more = f" (and {self._unlogged} times since it was last logged)" if self._unlogged else ""
            self._log.error(text + more)
            self._log_again_at, self._unlogged = now + _LOG_INTERVAL, 0
        else:
            self._log.debug(text)
            self._unlogged += begins
        if begins:
            self._failing_since = now

    def _answered(self) -> None:
        if self._failing_since is not None:
            log_line = self._log.debug if self._unlogged else self._log.error
            log_line(f"etcd answers again after {time.monotonic() - self._failing_since:.1f} s")
            self._failing_since = None


def share(deadline: float, most: float, untried: int = 1) -> float:
    """The moment until which the next of `untried` endpoints may take (`most` seconds at most): others need time."""
    now = time.monotonic()
    return now + min(most, (deadline - now) / max(2, untried))


def reason(error: Exception) -> str:
    """Why an endpoint failed, for a line of the log."""
    text = error.strerror if isinstance(error, OSError) else None
    return text or str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
