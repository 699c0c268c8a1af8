# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The value in the lock's key: who holds it, as JSON, for people and as proof of the process.

It is a protocol between versions of this program, and anybody with access to etcd may write anything there: `read` is
total over every text, and what it does not understand is a holder about whom nothing is known.
"""

from __future__ import annotations

import json
import os
import time

from .. import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

# How `since` is written, in UTC.
SINCE = "%Y-%m-%dT%H:%M:%SZ"


class Key:
    """A key in the lock's directory. `lease` is v3's (0: none); `left` and `ttl` are seconds, if known."""

    def __init__(
        self, name: str, value: str, revision: int, lease: int | None, left: int | None, ttl: int | None
    ) -> None:
        self.name = name
        self.value = value
        self.revision = revision
        self.lease = lease
        self.left = left
        self.ttl = ttl


class Keys:
    """What stands in the directory, the holder's key first.

    `stale` says why only one member's memory could be read; it is empty for a linearizable read.
    """

    def __init__(self, keys: list[Key], stale: str = "") -> None:
        self.keys = keys
        self.stale = stale


class Holder:
    """Who we are. The nonce is a random text that no other helper has, not even in a clone of this machine."""

    def __init__(
        self, lock_ttl: int, refresh: float, nonce: str, ask_pnn: Callable[[], Callable[[], int | None]]
    ) -> None:
        """`ask_pnn` starts to ask CTDB for this node's number; what it returns waits for the answer."""
        self._lease = {"lock_ttl": lock_ttl, "refresh": refresh}
        self._nonce = nonce
        self._ask_pnn = ask_pnn
        self._pnn: Callable[[], int | None] | None = None
        self._text = ""

    def begin(self) -> None:
        """Start to ask for the node's number: it takes as long as a request or two to etcd."""
        if self._pnn is None:
            self._pnn = self._ask_pnn()

    def text(self) -> str:
        """The value for the lock's key, the same each time. Raises Stopped."""
        if not self._text:
            self.begin()
            assert self._pnn
            who = {
                "node": os.uname().nodename,
                "pnn": self._pnn(),
                "since": time.strftime(SINCE, time.gmtime()),
                "version": __version__,
            }
            self._text = json.dumps({**who, **self._lease, **proof(self._nonce)})
        return self._text


def read(value: str) -> dict[str, Any]:
    """The JSON object in a key's value; an empty one if it is none."""
    try:
        who = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return who if isinstance(who, dict) else {}


def describe(value: str) -> str:
    """Who a key's value says that its holder is, for a line of the log."""
    who = read(value)
    try:
        pnn = "" if who["pnn"] is None else f"pnn {who['pnn']}, "
        return f"node {who['node']}, {pnn}pid {who['pid']}, since {who['since']}"
    except KeyError:
        return f"somebody else ({value[:80]!r})" if value else "somebody else"


def proof(nonce: str) -> dict[str, Any]:
    """What makes this process unmistakable. A pid, even with its start time, proves nothing by itself."""
    try:
        return {"pid": os.getpid(), "start_time": process_state("self")[1], **surroundings(), "nonce": nonce}
    except OSError:
        return {"pid": os.getpid()}  # without /proc nobody can prove anything


def process_state(pid: str) -> tuple[str, int]:
    """The state and the start time (clock ticks since boot) of a process, see proc(5). Raises OSError."""
    fields = _first_line(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[0], int(fields[19])


def surroundings() -> dict[str, Any]:
    """Where a pid and a start time have their meaning."""
    return {
        "boot_id": _first_line("/proc/sys/kernel/random/boot_id"),
        "pid_namespace": _namespace("pid"),
        "time_namespace": _namespace("time"),
    }


def _namespace(kind: str) -> int:
    try:
        return os.stat(f"/proc/self/ns/{kind}").st_ino
    except FileNotFoundError:
        return 0  # an old kernel lacks this kind


def _first_line(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.readline().strip()
