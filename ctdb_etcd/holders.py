# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Who holds the lock and who waits for it: all keys of its directory in either API, each as one dict for --json.

Nothing is written. A key that our helper did not write is shown as what it looks like, and never as a node.
"""

from __future__ import annotations

import binascii
import calendar
import json
import re
import time

from .lock import LockError, Refused, Unavailable
from .observe import PATIENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .config import Config
    from .gateway import Gateway
    from .log import Log
    from .observe import Patience

# More keys than this nobody reads; the holder is the first one.
_MOST = 100
_SINCE = "%Y-%m-%dT%H:%M:%SZ"
# What Samba's helper writes: a UUID, and the node's number.
_SAMBA = re.compile(r"[0-9a-f]{32}_(\d+)")


def in_v3(gateway: Gateway, directory: str, now: float) -> dict[str, Any]:
    """The keys in v3 as {"keys", "stale"}, the holder's first. Raises Unavailable, Refused.

    `stale`: what one member remembers, since most of them gave no answer.
    """
    search = {
        "key": base64(directory),
        "range_end": base64(directory[:-1] + "0"),
        "sort_order": "ASCEND",
        "sort_target": "CREATE",
        "limit": _MOST,
    }
    try:
        answer = gateway.call("kv/range", search, time.monotonic() + PATIENCE)
        # For all of them together: there may be many.
        until = time.monotonic() + PATIENCE / 2
        keys = [_with_lease(gateway, _key_v3(key, now), until) for key in answer.get("kvs", [])]
        return {"keys": keys, "stale": False}
    except Unavailable as failure:
        try:
            answer = gateway.call("kv/range", {**search, "serializable": True}, time.monotonic() + PATIENCE / 2)
        except LockError:
            raise failure from None
        return {"keys": [_key_v3(key, now) for key in answer.get("kvs", [])], "stale": True, "error": str(failure)}


def in_v2(config: Config, directory: str, waiter: Patience, log: Log, now: float) -> list[dict[str, Any]]:
    """The keys in v2, the holder's first. Raises Unavailable, Refused."""
    try:
        import etcd

        from .endpoints import Endpoints
        from .members_v2 import Members
    except ImportError as error:
        raise Refused(
            f"etcd's v2 API needs python-etcd, which cannot be imported ({error}): install python3-etcd,"
            " or set api = 3 once no node runs Samba's helper"
        ) from None
    members = Members(config, Endpoints(config, waiter, log), waiter, log)
    try:
        found = members.call(
            lambda client: client.read(directory.rstrip("/"), recursive=True, sorted=True, quorum=True),
            # Where it has users, etcd hashes a password for each of these requests.
            time.monotonic() + 2 * PATIENCE,
        )
    except etcd.EtcdKeyNotFound:
        return []
    leaves = sorted((leaf for leaf in found.leaves if not leaf.dir), key=lambda leaf: str(leaf.key))
    return [_key_v2(leaf, now) for leaf in leaves[:_MOST]]


def _key_v3(key: dict[str, Any], now: float) -> dict[str, Any]:
    name, value = _text(key.get("key")), _text(key.get("value", ""))
    shown = _described(value, now)
    # etcdctl and every program that uses etcd's own recipe write no value and name the key after its lease.
    if shown["kind"] == "unknown" and not value and re.fullmatch("[0-9a-f]+", name.rpartition("/")[2]):
        shown["kind"] = "etcdctl"
    lease = int(key.get("lease", 0))
    return {**shown, "api": "3", "key": name, "revision": int(key["create_revision"]), "lease": f"{lease:x}"}


def _with_lease(gateway: Gateway, key: dict[str, Any], until: float) -> dict[str, Any]:
    if key["lease"] == "0" or time.monotonic() >= until:
        return key
    try:
        answer = gateway.call("lease/timetolive", {"ID": int(key["lease"], 16)}, until)
        left, ttl = int(answer.get("TTL", 0)), int(answer.get("grantedTTL", 0))
    except (LockError, TypeError, ValueError):
        return key
    # -1: it has just run out.
    return {**key, "lease_left": max(left, 0), "lease_ttl": ttl or None}


def _key_v2(leaf: Any, now: float) -> dict[str, Any]:
    value = str(leaf.value or "")
    shown = _described(value, now)
    samba = _SAMBA.fullmatch(value)
    if samba:
        shown.update(kind="samba", pnn=int(samba[1]))
    left = leaf.ttl if isinstance(leaf.ttl, int) else None
    return {**shown, "api": "2", "key": str(leaf.key), "revision": leaf.createdIndex, "lease_left": left}


def _described(value: str, now: float) -> dict[str, Any]:
    """What the value of a key says of who wrote it."""
    shown: dict[str, Any] = dict.fromkeys(("kind", "node", "pnn", "pid", "since", "age", "version", "value"))
    shown.update(kind="unknown", lease=None, lease_left=None, lease_ttl=None)
    try:
        who = json.loads(value)
        shown["age"] = round(now - calendar.timegm(time.strptime(who["since"], _SINCE)), 1)
        pnn = who["pnn"] if isinstance(who["pnn"], int) else None
        shown.update(kind="ctdb-etcd", node=str(who["node"]), pnn=pnn, pid=int(who["pid"]), since=who["since"])
        shown["version"] = str(who.get("version"))
        shown["nonce"] = str(who.get("nonce"))
    except (ValueError, KeyError, TypeError, RecursionError):
        shown.update(age=None, value=value[:80])
    return shown


def base64(text: str) -> str:
    return binascii.b2a_base64(text.encode(), newline=False).decode()


def _text(data: object) -> str:
    return binascii.a2b_base64(str(data)).decode("utf-8", "backslashreplace")
