# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Waits that end at a deadline and can be interrupted.

A deadline is a moment on the monotonic clock, in seconds. All code that waits is given a Waiter: in the helper it is
ctdb.process.HelperWaiter, which signals and the parent's death interrupt; in reports Patient, which only time ends.
"""

from __future__ import annotations

import _thread
import errno
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Protocol

    class Waiter(Protocol):
        """How to wait: bounded, and interrupted by whatever ends the helper."""

        def check(self) -> None:
            """Raise Stopped if the helper must end, Lost if its lease has; called before work begins."""

        def wait(self, events: dict[int, int], deadline: float) -> set[int]:
            """Return the descriptors ready for their poll events. Raises as check, TimeoutError at the deadline."""


def rest(waiter: Waiter, until: float) -> None:
    """Wait for a moment to come. Raises Stopped."""
    try:
        waiter.wait({}, until)
    except TimeoutError:
        pass


def ready(events: dict[int, int], seconds: float) -> set[int]:
    """The descriptors that are ready for their poll events within so many seconds (inf: whenever one is)."""
    poll = select.poll()
    for fd, event in events.items():
        poll.register(fd, event)
    # Rounded up: a poll that ends early would be repeated without a pause.
    timeout = None if seconds == float("inf") else int(max(0.0, seconds) * 1000 + 0.999)
    return {fd for fd, _ in poll.poll(timeout)}


class Patient:
    """A Waiter that nothing but time ends."""

    def check(self) -> None:
        """Never raises."""

    def wait(self, events: dict[int, int], deadline: float) -> set[int]:
        found = ready(events, deadline - time.monotonic())
        if not found:
            raise TimeoutError("no answer in time")
        return found


class Task:
    """A function that keeps to no deadline (a resolver, a library), run in a thread that can be left behind."""

    def __init__(self, function: Callable[[], Any]) -> None:
        """Raises OSError where no thread or descriptor is available."""
        self._outcome: list[Any] = []
        self.done, self._finished = os.pipe()
        try:
            # Not threading, whose import takes as long as taking the lock.
            _thread.start_new_thread(self._run, (function,))
        except RuntimeError:
            os.close(self.done)
            os.close(self._finished)
            raise OSError(errno.EAGAIN, "no thread can be started") from None

    def _run(self, function: Callable[[], Any]) -> None:
        try:
            self._outcome.append(function())
        except Exception as error:
            self._outcome.append(error)
        finally:
            os.close(self._finished)

    def leave(self) -> None:
        """Take no result; instead of result()."""
        os.close(self.done)

    def result(self) -> Any:
        """Return or raise what the function did, once the descriptor `done` is ready; call it once."""
        os.close(self.done)
        if isinstance(self._outcome[0], Exception):
            raise self._outcome[0]
        return self._outcome[0]
