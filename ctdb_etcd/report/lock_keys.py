# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The keys of the lock's directory, each as one dict for --json.

Nothing is written. A key that this program did not write is shown as what it looks like, never as a node.
"""

from __future__ import annotations

import calendar
import re
import time
from typing import Any

from ..lock.holder import SINCE, Key, read

# Nobody reads more keys than this; the holder's is the first.
MOST = 100
# What Samba's helper writes: a UUID and the node's number.
_SAMBA = re.compile(r"[0-9a-f]{32}_([0-9]{1,9})")


def describe(key: Key, api: str, now: float) -> dict[str, Any]:
    """A key for the report; `now` is the wall clock in seconds."""
    shown: dict[str, Any] = {
        **_owner(key.value, now),
        "lease": None if key.lease is None else f"{key.lease:x}",
        "lease_left": key.left,
        "lease_ttl": key.ttl,
        "key": key.name,
        "revision": key.revision,
        "apis": [api],
    }
    samba = _SAMBA.fullmatch(key.value)
    if samba and api == "2":
        shown.update(kind="samba", pnn=int(samba[1]))
    # etcdctl and every program that uses etcd's own recipe write no value and name the key after its lease.
    elif api == "3" and not key.value and re.fullmatch("[0-9a-f]+", key.name.rpartition("/")[2]):
        shown["kind"] = "etcdctl"
    return shown


def _owner(value: str, now: float) -> dict[str, Any]:
    """What the value of a key says about its writer."""
    shown: dict[str, Any] = dict.fromkeys(("node", "pnn", "pid", "since", "age", "version", "value"))
    who = read(value)
    try:
        age = round(now - calendar.timegm(time.strptime(who["since"], SINCE)), 1)
        shown.update({field: who[field] for field in ("node", "pnn", "pid", "since", "version")})
        # A process writes one and the same value in both APIs; `written` is not for the report.
        shown.update(kind="ctdb-etcd", age=age, written=value)
    except (ValueError, KeyError):
        shown.update(kind="unknown", value=value[:80])
    return shown
