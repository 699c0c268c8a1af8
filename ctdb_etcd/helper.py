# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""CTDB's side of the helper: one status character, and an end at the right moment.

ctdbd reads one character from our stdout, once; after `0` only the end of that stream tells it that the lock
is lost. So the process ends at once when the lock is lost, and gives the lock back and ends when it is asked
to (SIGTERM), when its parent is gone, or when nobody reads its stdout. See cluster_mutex_helper.txt in Samba.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import time

from .fence import Fence, usable
from .lock import Contended, Lost, Refused, Stopped, Unavailable, rest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .config import Config
    from .fence import Grant
    from .lock import Lock
    from .log import Log
    from .proof import Witness

HOLDING, CONTENTION, TIMEOUT, ERROR = "0", "1", "2", "3"

# Once asked to end: seconds for an answer under way to arrive, so that we know what there is to release ...
_GRACE = 0.5
# ... and seconds for the release.
_RELEASE = 1.2
# A loss is told to CTDB by ending; this much before the kernel would do it, to say why in the log.
_FAREWELL = 0.2
# Between two tries of a refresh that etcd refuses: it may be a matter of a moment's permission.
_RETRY = 0.5
# With less time left than this many seconds the next line is the loss, which says why: one is enough.
_LATE = 1.5
# How often to look for the parent where the kernel cannot tell us (before Linux 5.3).
_PARENT_POLL = 0.2

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def close_leaked() -> None:
    """Close what ctdbd left open above stderr, its log pipe's reading end among it."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:
                pass  # the listing's own


def elects(parent: int) -> bool:
    """Whether it is CTDB's recovery daemon that runs us, to become the leader; ctdbd itself checks a recovery."""
    try:
        with open(f"/proc/{parent}/comm", encoding="ascii", errors="replace") as file:
            return file.read() == "ctdb_recoverd\n"
    except OSError:
        return False


class Status:
    """The one character for CTDB."""

    def __init__(self) -> None:
        self.said = ""

    def say(self, character: str) -> None:
        """Write it; what comes after the first is not written."""
        if not self.said:
            self.said = character
            try:
                os.write(1, character.encode())
            except OSError:
                pass  # nobody listens any more: the watch on stdout says so too

    def end(self) -> None:
        """Let ctdbd see the end of our stdout, which is to it the loss of the lock."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)


class Watch:
    """Waits for others and for what ends the helper: a signal, the parent's end, stdout without a reader.

    It is the Waiter of the lock's code. A request under way when the end comes may take _GRACE more
    seconds; then, and at every new request, Stopped is raised, until `release` has been called.
    """

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._reason = ""
        self._latest = float("inf")
        self._releasing = False
        self._awake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in _ENDING:
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        self._pidfd = _pidfd(parent)

    def check(self) -> None:
        """See lock.Waiter.check."""
        self._look({}, 0)
        if self._reason and not self._releasing:
            raise Stopped(self._reason)

    def wait(self, events: dict[int, int], deadline: float) -> set[int]:
        """See lock.Waiter.wait. Raises Stopped at once if there is nothing but time to wait for."""
        while True:
            ending = self._reason and not self._releasing
            until = min(deadline, self._latest) if ending else deadline
            left = until - time.monotonic()
            ready = self._look(events, 0 if ending and not events else max(0.0, min(left, self._tick())))
            if ready:
                return ready
            if ending and (not events or left <= 0):
                raise Stopped(self._reason)
            if time.monotonic() >= deadline:
                raise TimeoutError

    def release(self) -> None:
        """From now on only deadlines end a wait: the lock is being given back."""
        self._releasing = True

    def _tick(self) -> float:
        return float("inf") if self._pidfd is not None else _PARENT_POLL

    def _look(self, events: dict[int, int], seconds: float) -> set[int]:
        poll = select.poll()
        for fd, event in events.items():
            poll.register(fd, event)
        if not self._reason:
            poll.register(self._awake, select.POLLIN)
            poll.register(1, 0)  # POLLERR: a pipe without a reader
            if self._pidfd is not None:
                poll.register(self._pidfd, select.POLLIN)
        # Rounded up: a poll that ends early would be repeated without rest.
        found = {fd for fd, _ in poll.poll(None if seconds == float("inf") else int(seconds * 1000 + 0.999))}
        if self._awake in found:
            self._end(signal.Signals(os.read(self._awake, 1)[0]).name)
        if self._pidfd in found or os.getppid() != self._parent:
            self._end("the parent process is gone")
        if 1 in found:
            self._end("nobody reads our stdout any more")
        return found & set(events)

    def _end(self, reason: str) -> None:
        if not self._reason:
            self._reason = reason
            self._latest = time.monotonic() + _GRACE


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None  # an old kernel, or it is gone already: getppid tells


def run(config: Config, lock: Lock, witness: Witness, watch: Watch, status: Status, log: Log) -> None:
    """Take the lock, tell CTDB, and hold it until it is lost or to be given back."""
    began = time.monotonic()
    try:
        deadline = began + config.acquire_timeout
        lock.look(deadline)
        grant = lock.take(deadline)
        if usable(grant) <= 0:
            raise Unavailable("etcd is too slow: the lease was nearly over when it came")
        # Nothing may come between this and the status that could take longer than the lease.
        fence = Fence(grant)
        watch.check()
        status.say(HOLDING)
        gc.enable()
        took = time.monotonic() - began
        log.info(
            f"holding {lock} at {lock.endpoint} for leases of {grant.ttl:g} s, taken in {took:.3f} s, pid {os.getpid()}"
        )
        try:
            witness.leave()
        except OSError as error:
            log.info(f"if killed it will be missed for a whole lease: {error.filename}: {error.strerror}")
        _hold(config.refresh, lock, grant, fence, watch, log)
    except Contended as contention:
        _give_back(lock, watch, log)
        status.say(CONTENTION)
        # Not imported earlier: testparm is to begin before json and re are imported.
        from .identity import describe

        who = describe(contention.value)
        log.info(f"contention: {lock} is held by {who}; asked {lock.endpoint}, {time.monotonic() - began:.3f} s")
    except Lost as loss:
        log.error(f"lost {lock} at {lock.endpoint} after {time.monotonic() - began:.0f} s: {loss}")
        if not status.said:
            # Of several locks the first one ended while the last was taken.
            _give_back(lock, watch, log)
            status.say(TIMEOUT)
    except (Unavailable, Refused) as failure:
        _give_back(lock, watch, log)
        status.say(TIMEOUT if isinstance(failure, Unavailable) else ERROR)
        log.error(str(failure))
    except Stopped as stop:
        # First: once the release has reached etcd somebody else may hold, and its answer may be long in coming.
        status.end()
        _give_back(lock, watch, log)
        witness.remove()
        done = f"released {lock} at {lock.endpoint}" if status.said else f"did not take {lock}"
        log.info(f"{done} after {time.monotonic() - began:.0f} s: {stop}")


def _hold(refresh: float, lock: Lock, grant: Grant, fence: Fence, watch: Watch, log: Log) -> None:
    while True:
        rest(watch, grant.sent.monotonic + refresh)
        grant = _renew(lock, fence, watch, log)
        fence.arm(grant)


def _renew(lock: Lock, fence: Fence, watch: Watch, log: Log) -> Grant:
    """Try until the lock is renewed, or lost for want of time."""
    refused = told = ""
    while True:
        left = fence.left() - _FAREWELL
        if left <= 0:
            raise Lost("it was not renewed in time" + (f": {refused}" if refused else ""))
        deadline = time.monotonic() + left
        try:
            grant = lock.refresh(deadline)
            if told:
                log.error(f"{lock} is renewed again, at {lock.endpoint}")
            return grant
        except (Unavailable, Refused) as failure:
            refused = str(failure)
            if refused != told and fence.left() > _LATE:
                told = refused
                log.error(f"{lock} is not renewed, {fence.left():.1f} s left: {told}")
            rest(watch, min(deadline, time.monotonic() + _RETRY))


def _give_back(lock: Lock, watch: Watch, log: Log) -> None:
    watch.release()
    try:
        lock.release(time.monotonic() + _RELEASE)
    except (Unavailable, Refused) as failure:
        log.info(f"{lock} is left to its lease's end: {failure}")
