# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The life of the lock, as CTDB sees it: look, take, `0`, refresh, and the end.

A loss is reported to CTDB at once, by the end of stdout. What is left of the lock is released, whatever ends it.
"""

from __future__ import annotations

import gc
import os
import signal
import time

from ..errors import Contended, Lost, Refused, Stopped, Unavailable
from ..fence import Fence
from ..lock.holder import describe
from ..waiting import rest
from .process import ASLEEP, CONTENTION, ERROR, HOLDING, TIMEOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..fence import Grant
    from ..lock.open import Lock
    from ..lock.takeover import Contender
    from ..log import Log
    from .process import HelperWaiter, Status

# CTDB 4.22 and others ban a node whose helper answers anything but `0` later than 5 s after the election began
# (Samba's bugs 15892 and 16152). So every answer but `0` comes within acquire_timeout and half a second, 4.5 s by
# default, counted from the process's start. This much of the half second is for a dying lease and for taking the lock.
LAST_CHANCE = 0.3
# Seconds for the release.
_RELEASE = 1.2
# A loss is known this many seconds before the kernel ends the process, so that the log says why.
_TO_LOG = 0.2
# Seconds between two tries of a refresh that etcd refuses: a missing permission may be temporary.
_RETRY = 0.5
# Seconds after news for which no other is looked for: news without a reason must not keep us busy.
_DEAF = 1.0
# Seconds that opening a watch may take out of the rest between two refreshes.
_WATCH = 0.5
# With fewer seconds left only the loss is logged, which gives the reason.
_LAST_LINE = 1.5


def run(
    refresh: float, lock: Lock, contender: Contender, deadline: float, waiter: HelperWaiter, status: Status, log: Log
) -> None:
    """Take the lock, report to CTDB, and hold the lock, renewed every `refresh` seconds, until its end.

    No etcd out of reach is waited for after the deadline (monotonic seconds).
    """
    began = time.monotonic()
    try:
        lock.look(contender, deadline)
        grant = lock.take(contender, contender.latest)
        waiter.check()
        # Nothing that can wait may come between this and the character.
        fence = Fence(grant)
        status.write(HOLDING)
        waiter.fence = fence
        gc.enable()
        took = time.monotonic() - began
        log.info(
            f"holding {lock} at {lock.endpoint} for leases of {grant.ttl:g} s, taken in {took:.3f} s, pid {os.getpid()}"
        )
        try:
            contender.nonce_file.leave()
        except OSError as error:
            log.info(f"after a kill the lock is free only when its lease ends: {error}")
        _hold(refresh, lock, grant, fence, waiter, log)
    except Contended as contention:
        status.write(CONTENTION)
        _release_lock(lock, contender, waiter, log)
        who = describe(str(contention))
        log.info(f"contention: {lock} is held by {who}; asked {lock.endpoint}, {time.monotonic() - began:.3f} s")
    except Lost as loss:
        if status.written:
            status.end()
        else:
            # It came too late; or there are two locks, and the first ended while the second was taken.
            status.write(TIMEOUT)
        log.error(f"lost {lock} at {lock.endpoint} after {time.monotonic() - began:.0f} s: {loss}")
        # What is left of it must not wait for its lease's end.
        _release_lock(lock, contender, waiter, log)
    except (Unavailable, Refused) as failure:
        # First: CTDB waits for the character.
        status.write(TIMEOUT if isinstance(failure, Unavailable) else ERROR)
        log.error(str(failure))
        _release_lock(lock, contender, waiter, log)
    except Stopped as stop:
        # First: somebody else may hold as soon as the release has reached etcd, and its answer may come late.
        status.end()
        _release_lock(lock, contender, waiter, log)
        done = f"released {lock} at {lock.endpoint}" if status.written else f"did not take {lock}"
        log.info(f"{done} after {time.monotonic() - began:.0f} s: {stop}")
    except Exception as error:
        # A bug, which main() reports; the lock must not wait for its lease's end because of it.
        status.fail(error)
        _release_lock(lock, contender, waiter, log)
        raise


def _hold(refresh: float, lock: Lock, grant: Grant, fence: Fence, waiter: HelperWaiter, log: Log) -> None:
    early = False
    while True:
        if early:
            waiter.rest({}, time.monotonic() + min(refresh - grant.age(), _DEAF))
        events = lock.changes(time.monotonic() + min(refresh - grant.age(), _WATCH))
        early = False
        while not early and (left := refresh - grant.age()) > 0:
            early = waiter.rest(events, time.monotonic() + min(left, ASLEEP))
        grant = _renew(lock, fence, waiter, log)
        fence.arm(grant)


def _renew(lock: Lock, fence: Fence, waiter: HelperWaiter, log: Log) -> Grant:
    """Try until the lock is renewed. Raises Lost when no time is left."""
    reason = logged = ""
    while True:
        left = fence.left() - _TO_LOG
        if left <= 0:
            raise Lost("it was not renewed in time" + (f": {reason}" if reason else ""))
        deadline = time.monotonic() + left
        try:
            grant = lock.refresh(deadline)
            if logged:
                log.error(f"{lock} is renewed again, at {lock.endpoint}")
            return grant
        except (Unavailable, Refused) as failure:
            reason = str(failure)
            if reason != logged and fence.left() > _LAST_LINE:
                logged = reason
                log.error(f"{lock} is not renewed, {fence.left():.1f} s left: {logged}")
            rest(waiter, min(deadline, time.monotonic() + _RETRY))


def _release_lock(lock: Lock, contender: Contender, waiter: HelperWaiter, log: Log) -> None:
    waiter.release()
    # The kernel timer may leave less time, and two locks share it.
    most = signal.getitimer(signal.ITIMER_REAL)[0] or _RELEASE
    try:
        lock.release(time.monotonic() + min(most, _RELEASE))
        # Where etcd still has the lock, the nonce lets others on this machine take it from us.
        contender.nonce_file.remove()
    except (Unavailable, Refused) as failure:
        log.info(f"{lock} is not released and ends with its lease: {failure}")
