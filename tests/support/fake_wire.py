# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The connection to a fake etcd: requests and answers take time, and are lost or changed where a test plans it."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NoReturn, Optional, TypeVar

from ctdb_etcd.errors import Unavailable

from .fakes import Clock, Waiter

Result = TypeVar("Result")


class Fault:
    """A fault of one request: seconds for the request (`out`) or the answer (`back`), or loss of either (`lost`).

    `error` or `answer` replaces etcd's own answer, after the request's effect or (`effect` False) without it. With
    `again` etcd executes the request once more, that many seconds later, without an answer.
    """

    def __init__(
        self,
        out: Optional[float] = None,
        back: Optional[float] = None,
        lost: str = "",
        effect: bool = True,
        error: Optional[BaseException] = None,
        answer: Any = None,
        again: Optional[float] = None,
    ) -> None:
        assert lost in ("", "out", "back")
        self.out, self.back, self.lost, self.effect = out, back, lost, effect
        self.error, self.answer, self.again = error, answer, again


class Request:
    """A recorded request: its name, its body, the times of all tries (`sent`), and its deadline."""

    def __init__(self, name: str, body: Any, deadline: float) -> None:
        self.name, self.body, self.deadline = name, body, deadline
        self.sent: List[float] = []


class Wire:
    """The connection to etcd on the fake clock, with a test's faults: OUT s for a request, BACK s for its answer."""

    OUT, BACK, PAUSE = 0.25, 0.5, 1.0

    def __init__(self, clock: Clock, waiter: Waiter) -> None:
        self._clock = clock
        self._waiter = waiter
        self.requests: List[Request] = []
        self._faults: Dict[str, List[Optional[Fault]]] = {}
        self._before: Dict[str, Callable[[], object]] = {}

    @property
    def names(self) -> List[str]:
        """The names of all requests, in order."""
        return [request.name for request in self.requests]

    def fault(self, name: str, *faults: Optional[Fault]) -> None:
        """Plan the faults of the next tries of requests with this name, in order; None: no fault."""
        self._faults.setdefault(name, []).extend(faults)

    def meanwhile(self, name: str, action: Callable[[], object]) -> None:
        """Plan an action of others just before the next request with this name takes effect."""
        self._before[name] = action

    def carry(self, request: Request, effect: Callable[[], Result], repeated: bool = True) -> Result:
        """Send a request until it is answered; raise Unavailable at the deadline, or at a loss if not `repeated`."""
        self.requests.append(request)
        while True:
            self._waiter.check()
            if self._clock.now >= request.deadline:
                self._give_up(request)
            request.sent.append(self._clock.now)
            faults = self._faults.get(request.name)
            fault = (faults.pop(0) if faults else None) or Fault()
            self._go_on(request, self.OUT if fault.out is None else fault.out)
            result: Any = fault.answer
            error = fault.error
            if fault.lost != "out" and fault.effect:
                self._before.pop(request.name, lambda: None)()
                try:
                    done = effect()
                    result = done if result is None else result
                except Exception as refusal:
                    error = error or refusal
                if fault.again is not None:
                    self._clock.at(self._clock.now + fault.again, lambda: _quietly(effect))
            if not fault.lost:
                self._go_on(request, self.BACK if fault.back is None else fault.back)
                if error:
                    raise error
                return result  # type: ignore[no-any-return]
            self._go_on(request, self.PAUSE)
            if not repeated:
                raise Unavailable("no answer")

    def _go_on(self, request: Request, seconds: float) -> None:
        if self._clock.now + seconds > request.deadline:
            self._clock.until(request.deadline)
            self._give_up(request)
        self._clock.pass_(seconds)

    @staticmethod
    def _give_up(request: Request) -> NoReturn:
        raise Unavailable(f"no answer in time to {request.name}")


def _quietly(effect: Callable[[], object]) -> None:
    try:
        effect()
    except Exception:
        pass  # no client waits for this answer
