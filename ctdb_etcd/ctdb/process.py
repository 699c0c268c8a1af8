# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The process as ctdbd sees it: one status character, and an end at the right moment.

ctdbd reads one character from our stdout, once. After `0` the end of that stream means the loss of the lock; ctdbd
ignores everything else (cluster_mutex_helper.txt in Samba). So the process ends when it is asked to (SIGTERM), when its
parent is gone, and when nobody reads its stdout.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time

from ..errors import Lost, Stopped
from ..waiting import ready

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..fence import Fence

HOLDING, CONTENTION, TIMEOUT, ERROR = "0", "1", "2", "3"

# Once asked to end: seconds for an answer under way to arrive, so that we know what there is to release.
_GRACE = 0.5
# Seconds between two looks at a holder's lease: neither its timer nor a wait goes on while the machine sleeps.
ASLEEP = 1.0
# How often in seconds to look for the parent where the kernel cannot report its death (before Linux 5.3).
_PARENT_POLL = 0.2

_SCARCITY = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS)
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def begin() -> float:
    """Close what ctdbd leaks to its children; return when this process was started, on the monotonic clock.

    Descriptors above stderr are leaked, among them the reading end of ctdbd's log pipe. The first
    three are opened if they are missing, which they never are under ctdbd.
    """
    try:
        end = max(map(int, os.listdir("/proc/self/fd"))) + 1
    except OSError:
        end = os.sysconf("SC_OPEN_MAX")  # no /proc, or no descriptor left to read it with
    os.closerange(3, end)
    # Else the next descriptor opened would pass for stdout.
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # The end of a pipe without the other end: as stdout it has no reader.
            os.close(os.pipe()[1])
    return _started()


def _started() -> float:
    """When this process was forked: on a busy machine that may be long ago."""
    now = time.monotonic()
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return now
    return now - max(0.0, age)


def elects(parent: int) -> bool:
    """Whether CTDB's recovery daemon runs us, to become the leader; ctdbd itself runs us to check a recovery."""
    try:
        with open(f"/proc/{parent}/comm", "rb") as file:
            return file.read() == b"ctdb_recoverd\n"
    except OSError:
        return False


def is_scarcity(error: Exception) -> bool:
    """Whether this machine is short of descriptors or memory: waiting may help."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _SCARCITY)


class Status:
    """The one character for CTDB."""

    def __init__(self) -> None:
        self.written = ""

    def write(self, character: str) -> None:
        """Write it; only the first one is written."""
        if not self.written:
            self.written = character
            try:
                os.write(1, character.encode())
            except OSError:
                pass  # nobody reads it any more; HelperWaiter notices that too

    def fail(self, error: Exception) -> None:
        """Answer CTDB after any error: write the character, or end stdout after `0`."""
        if self.written:
            self.end()
        else:
            self.write(TIMEOUT if is_scarcity(error) else ERROR)

    def end(self) -> None:
        """Let ctdbd see the end of our stdout, which it takes for the loss of the lock."""
        # The log takes its place: /dev/null would need a descriptor, of which none may be left.
        os.dup2(2, 1)


class HelperWaiter:
    """The helper's Waiter: a signal, the parent's death and a stdout without a reader interrupt it.

    A request under way at that moment may take _GRACE more seconds; then, and at every new request, Stopped is
    raised, until `release` has been called. Once a holder's `fence` has passed while the machine slept, Lost is raised.
    """

    def __init__(self, parent: int) -> None:
        self.fence: Fence | None = None
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
        self._look({}, 0)
        if self._reason and not self._releasing:
            raise Stopped(self._reason)

    def wait(self, events: dict[int, int], deadline: float) -> set[int]:
        """Raises Stopped at once if there is nothing but time to wait for."""
        while True:
            ending = self._reason and not self._releasing
            until = min(deadline, self._latest) if ending else deadline
            left = until - time.monotonic()
            found = self._look(events, 0 if ending and not events else min(left, self._tick()))
            if found:
                return found
            if ending and (not events or left <= 0):
                raise Stopped(self._reason)
            if time.monotonic() >= deadline:
                raise TimeoutError

    def rest(self, events: dict[int, int], until: float) -> bool:
        """Wait for a moment (monotonic seconds); return early with True at any poll event. Raises Stopped at once."""
        while True:
            self.check()
            left = until - time.monotonic()
            if left <= 0:
                return False
            if self._look(events, min(left, self._tick())):
                return True

    def release(self) -> None:
        """From now on only deadlines end a wait: the lock is being released."""
        self._releasing = True

    def _tick(self) -> float:
        if self._pidfd is None:
            return _PARENT_POLL
        return ASLEEP if self.fence else float("inf")

    def _look(self, events: dict[int, int], seconds: float) -> set[int]:
        ours: dict[int, int] = {}
        if not self._reason:
            ours = {self._awake: select.POLLIN, 1: 0}  # 0: POLLERR, of a pipe without a reader
            if self._pidfd is not None:
                ours[self._pidfd] = select.POLLIN
        found = ready({**events, **ours}, seconds)
        if self._awake in found:
            self._end(signal.Signals(os.read(self._awake, 1)[0]).name)
        if self._pidfd in found or os.getppid() != self._parent:
            self._end("the parent process is gone")
        if 1 in found:
            self._end("nobody reads our stdout any more")
        if self.fence and self.fence.left() <= 0 and not self._releasing:
            raise Lost("nothing is left of its lease since this machine slept")
        return found & set(events)

    def _end(self, reason: str) -> None:
        if not self._reason:
            self._reason = reason
            self._latest = time.monotonic() + _GRACE


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None  # an old kernel, or it is gone already: getppid shows that
