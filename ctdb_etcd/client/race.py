# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Connecting races the candidates: a dead address costs a fraction of a second and not a time-out."""

from __future__ import annotations

import errno
import os
import select
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..waiting import Waiter

# Seconds between starting to connect to one candidate and to the next. RFC 8305 has 0.25, for the internet; etcd is
# near, and every start waits this long for each machine before the first one that is up.
_ATTEMPT_DELAY = 0.05
# EACCES is this machine's own rule: SELinux's, as Fedora and RHEL come, or rarely a route that prohibits.
NOT_PERMITTED = "connecting is not permitted on this machine (SELinux?): see SELINUX in ctdb-etcd(7)"


class Address:
    """Where to connect to: an endpoint (messages say its name, `host:port`) and one of its addresses."""

    def __init__(self, endpoint: str, family: int, sockaddr: Any) -> None:
        self.endpoint = endpoint
        self.family = family
        self.sockaddr = sockaddr


class ConnectFailed(OSError):
    """No candidate could be connected to: `reasons` says why, by endpoint."""

    def __init__(self, reasons: dict[str, OSError]) -> None:
        self.reasons = reasons


def race(candidates: list[Address], waiter: Waiter, deadline: float) -> tuple[Address, socket.socket]:
    """Connect to whichever candidate answers first, started in order. Raises ConnectFailed, Stopped."""
    pending: dict[int, tuple[Address, socket.socket]] = {}
    reasons: dict[str, OSError] = {
        candidate.endpoint: TimeoutError("no connection in time") for candidate in candidates
    }
    waiting = list(candidates)
    try:
        while waiting or pending:
            if waiting:
                candidate = waiting.pop(0)
                try:
                    sock = _begin(candidate)
                except OSError as error:
                    reasons[candidate.endpoint] = error
                    continue
                pending[sock.fileno()] = candidate, sock
            until = min(deadline, time.monotonic() + _ATTEMPT_DELAY) if waiting else deadline
            try:
                ready = waiter.wait(dict.fromkeys(pending, select.POLLOUT), until)
            except TimeoutError:
                if time.monotonic() >= deadline:
                    break
                continue
            for fd in ready:
                candidate, sock = pending.pop(fd)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    return candidate, sock
                sock.close()
                reasons[candidate.endpoint] = _refused(code)
    finally:
        for _, sock in pending.values():
            sock.close()
    raise ConnectFailed(reasons)


def _refused(code: int) -> OSError:
    """Why the kernel did not connect."""
    return OSError(code, NOT_PERMITTED if code == errno.EACCES else os.strerror(code))


def _begin(candidate: Address) -> socket.socket:
    """A socket that is being connected. Raises OSError, also where the kernel has no IPv6 or no descriptor left."""
    sock = socket.socket(candidate.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(candidate.sockaddr)
        if code not in (0, errno.EINPROGRESS):
            raise _refused(code)
    except BaseException:
        sock.close()
        raise
    return sock
