# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The value in the lock's key: who holds it, as JSON, for people and as proof of the process.

Anybody with access to etcd may write anything there. So every value goes through `read`, which accepts any text: it
leaves out a field with an impossible content, and a value without its fields is a holder about whom nothing is known.

The value is a protocol between versions of this program, which meet while a cluster is upgraded node by node:
docs/DESIGN.md says what may change.
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
# In place of a value that was not read.
TOO_LONG = "(too long to be read)"

# Characters. Ours has 400 of them, and a host name that is as long as it can be.
_LENGTH_MAX = 4096
# Of one field. HOST_NAME_MAX is 64.
_TEXT_MAX = 255
# Seconds; more than any lock_ttl.
_SECONDS_MAX = 86400


class Key:
    """A key in the lock's directory. `lease` is v3's (0: none); `left` and `ttl` are seconds, if known.

    `revision` is that of its creation, `modified` that of its last change.
    """

    def __init__(
        self, name: str, value: str, revision: int, modified: int, lease: int | None = None, left: int | None = None
    ) -> None:
        self.name = name
        self.value = value
        self.revision = revision
        self.modified = modified
        self.lease = lease
        self.left = left
        self.ttl: int | None = None


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


def _is_text(found: object) -> bool:
    return isinstance(found, str) and len(found) <= _TEXT_MAX


def _is_number(found: object) -> bool:
    return type(found) is int and 0 <= found < 1 << 63


def _is_seconds(found: object) -> bool:
    # False for nan and inf too, so no arithmetic with it can fail.
    return type(found) in (int, float) and 0 < found <= _SECONDS_MAX  # type: ignore[operator]


_FIELDS = {
    "node": _is_text,
    "pnn": lambda found: found is None or _is_number(found),
    "pid": _is_number,
    "since": _is_text,
    "version": _is_text,
    "lock_ttl": _is_seconds,
    "refresh": _is_seconds,
    "start_time": _is_number,
    "boot_id": _is_text,
    "pid_namespace": _is_number,
    "time_namespace": _is_number,
    "nonce": _is_text,
}


def read(value: str) -> dict[str, Any]:
    """The fields in a key's value that can be what they say, of the types that we write."""
    try:
        who = json.loads(value) if len(value) <= _LENGTH_MAX else None
    except (ValueError, RecursionError):
        return {}
    if not isinstance(who, dict):
        return {}
    return {field: who[field] for field, can_be in _FIELDS.items() if field in who and can_be(who[field])}


def describe(value: str) -> str:
    """Who a key's value says that its holder is, for a line of the log."""
    who = read(value)
    try:
        pnn = "" if who["pnn"] is None else f"pnn {who['pnn']}, "
        return f"node {who['node']}, {pnn}pid {who['pid']}, since {who['since']}"
    except KeyError:
        return f"somebody else ({value[:80]!r})" if value else "somebody else"


def proof(nonce: str) -> dict[str, Any]:
    """What identifies this process. A pid, even with its start time, proves nothing by itself."""
    try:
        return {"pid": os.getpid(), "start_time": process_state("self")[1], **surroundings(), "nonce": nonce}
    except OSError:
        return {"pid": os.getpid()}  # without /proc nobody can prove anything


def process_state(pid: str) -> tuple[str, int]:
    """The state and the start time (clock ticks since boot) of a process, see proc(5). Raises OSError."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        # All of it: the name of a process may hold line breaks, too.
        fields = file.read().rpartition(")")[2].split()
    return fields[0], int(fields[19])


def surroundings() -> dict[str, Any]:
    """Where a pid and a start time have their meaning."""
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8", errors="replace") as file:
        boot_id = file.readline().strip()
    return {"boot_id": boot_id, "pid_namespace": _namespace("pid"), "time_namespace": _namespace("time")}


def _namespace(kind: str) -> int:
    try:
        return os.stat(f"/proc/self/ns/{kind}").st_ino
    except FileNotFoundError:
        return 0  # an old kernel lacks this kind
