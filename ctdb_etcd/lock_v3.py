# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The lock on etcd's v3 API: a key under a lease, put by a transaction into an empty directory.

Whoever has the oldest key in the directory holds the lock; `etcdctl lock` on the same path takes part. Taking
a lock that is held costs one linearizable read and nothing else. The lease's ID is our own choice and the
key is named after it: so every request can be repeated, and what came of one without an answer can be read.
"""

from __future__ import annotations

import binascii
import os
import time

from .answers import LeaseExists, LeaseNotFound
from .failover import OtherCluster
from .fence import Grant, Moment
from .identity import describe
from .lock import Contended, Lost, Refused, Unavailable
from .takeover import Rival

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .gateway import Gateway
    from .identity import Holder
    from .log import Log
    from .takeover import Takeover

# etcd's longest lease in seconds (MaxLeaseTTL in lease/lessor.go); the kernel's timer takes no more either.
_TTL_MAX = 9_000_000_000
# How often to renew a lease anew because etcd's leader changed meanwhile.
_TERMS = 3
# Seconds for what may as well be left to a lease's end.
_TIDY = 1.0


class LockV3:
    """One lock: a directory of keys ending in a slash, and a lease of ttl seconds (etcd may grant more)."""

    def __init__(
        self, gateway: Gateway, directory: str, ttl: int, holder: Holder, takeover: Takeover, log: Log
    ) -> None:
        self._gateway = gateway
        self._directory = directory
        self._ttl = ttl
        self._holder = holder
        self._takeover = takeover
        self._log = log
        self._lease = 0
        self._key = ""
        self._revision = 0
        self._oldest = {
            "key": _base64(directory),
            # All keys that begin with the directory: up to the byte after its slash.
            "range_end": _base64(directory[:-1] + "0"),
            "sort_order": "ASCEND",
            "sort_target": "CREATE",
            "limit": 1,
        }

    def look(self, deadline: float) -> None:
        """See lock.Lock.look."""
        self._takeover.contend(lambda: self._front(deadline), deadline)

    def take(self, deadline: float) -> Grant:
        """See lock.Lock.take."""
        while True:
            try:
                return self._take(deadline)
            except Lost as loss:
                # etcd was away for longer than the lease: begin anew. The deadline bounds every call.
                self._log.info(f"not taken yet: {loss}")

    def refresh(self, deadline: float) -> Grant:
        """See lock.Lock.refresh."""
        try:
            return self._refresh(deadline)
        except OtherCluster as refusal:
            raise Lost(f"etcd is not the one that granted it: {refusal}") from None

    def _refresh(self, deadline: float) -> Grant:
        for _ in range(_TERMS):
            grant, term = self._keep_alive(deadline)
            # Some releases of etcd renew a lease that was revoked, and a key can be deleted under a live one.
            answer = self._gateway.call("kv/range", {"key": _base64(self._key)}, deadline)
            if not any(_number(key, "create_revision") == self._revision for key in _keys(answer)):
                raise Lost("its key is gone: it was deleted, or its lease was revoked")
            # Nor does a leader ask in those releases (before 3.4.38, 3.5.23 and 3.6.5) whether it is one still: what a
            # deposed one renews is not renewed. The read is by the leader of now: in its term the renewal counts.
            if _term(answer) == term:
                return grant
            self._log.info("renewed by a leader that etcd no longer had: once more")
        raise Unavailable("etcd changes its leader again and again")

    def release(self, deadline: float) -> None:
        """See lock.Lock.release."""
        if self._lease:
            self._revoke(self._lease, deadline)
            self._lease = 0

    def _revoke(self, lease: int, deadline: float) -> None:
        try:
            self._gateway.call("lease/revoke", {"ID": lease}, deadline)
        except LeaseNotFound:
            pass

    @property
    def endpoint(self) -> str:
        """See lock.Lock.endpoint."""
        return self._gateway.endpoint

    def __str__(self) -> str:
        return self._directory + (f" (v3, revision {self._revision})" if self._revision else "")

    def _take(self, deadline: float) -> Grant:
        self._holder.begin()
        # Positive as etcd's IDs are, and never its "no lease".
        self._lease = int.from_bytes(os.urandom(8), "big") >> 1 or 1
        self._key = f"{self._directory}{self._lease:x}"
        grant = self._grant(deadline)
        first = self._put([self._all_created(0)], [], deadline)
        if first and self._takeover.is_dead(_text(first.get("value", ""))):
            first = self._replace(first, deadline)
        if first:
            raise Contended(_text(first.get("value", "")))
        return grant if grant.left() > grant.ttl / 2 else self.refresh(deadline)

    def _front(self, deadline: float) -> Rival | None:
        keys = _keys(self._gateway.call("kv/range", self._oldest, deadline))
        if not keys:
            return None
        lease = _number(keys[0], "lease")
        return Rival(_text(keys[0].get("value", "")), lambda: self._left(lease, deadline))

    def _left(self, lease: int, deadline: float) -> float:
        return _number(self._gateway.call("lease/timetolive", {"ID": lease}, deadline), "TTL")

    def _replace(self, dead: dict[str, Any], deadline: float) -> dict[str, Any] | None:
        """Put our key in the place of this one, if nothing has happened to it and nobody waits behind it.

        Returns the key in front if that is not ours.
        """
        same = {
            "key": dead["key"],
            "target": "MOD",
            "result": "EQUAL",
            "mod_revision": _number(dead, "mod_revision"),
        }
        alone = self._all_created(_number(dead, "create_revision"))
        first = self._put([same, alone], [{"request_delete_range": {"key": dead["key"]}}], deadline)
        if not first:
            self._log.info(f"evicted from {self._directory}, its process is gone: {describe(_text(dead['value']))}")
            try:
                self._revoke(_number(dead, "lease"), time.monotonic() + _TIDY)
            except (Unavailable, Refused):
                pass  # it ends by itself, and holds no key
        return first

    def _put(
        self, compare: list[dict[str, Any]], before: list[dict[str, Any]], deadline: float
    ) -> dict[str, Any] | None:
        """Put our key if all of compare is so, after the operations `before`. Returns the key in front if not."""
        put = {"key": _base64(self._key), "value": _base64(self._holder.text()), "lease": self._lease}
        body = {
            "compare": compare,
            "success": [*before, {"request_put": put}],
            "failure": [{"request_range": {"key": put["key"]}}, {"request_range": self._oldest}],
        }
        try:
            answer = self._gateway.call("kv/txn", body, deadline)
        except LeaseNotFound:
            raise Lost("the lease ended before it was used") from None
        if answer.get("succeeded"):
            self._revision = _number(answer.get("header"), "revision")
            return None
        parts = _list(answer.get("responses"))
        if len(parts) != 2:
            raise Unavailable("etcd's answer makes no sense: not two responses")
        mine, first = (_keys(_dict(part).get("response_range")) for part in parts)
        if mine:
            # An earlier try of ours had come through.
            self._revision = _number(mine[0], "create_revision")
            return None
        if not first:
            self.release(deadline)
            raise Lost("its holder of a moment ago has just gone")
        return first[0]

    def _all_created(self, revision: int) -> dict[str, Any]:
        """A compare: every key in the directory was created by this revision; 0: there is none."""
        return {
            "key": self._oldest["key"],
            "range_end": self._oldest["range_end"],
            "target": "CREATE",
            "result": "EQUAL",
            "create_revision": revision,
        }

    def _grant(self, deadline: float) -> Grant:
        sent = Moment.now()
        try:
            answer = self._gateway.call("lease/grant", {"ID": self._lease, "TTL": self._ttl}, deadline)
        except LeaseExists:
            # An earlier try of ours had come through; no lease is shorter than what was asked for.
            return Grant(sent, self._ttl)
        return Grant(sent, _ttl(answer))

    def _keep_alive(self, deadline: float) -> tuple[Grant, int]:
        """The lease as renewed, and the term of etcd's leader in the eyes of the member that answered."""
        sent = Moment.now()
        try:
            answer = self._gateway.call("lease/keepalive", {"ID": self._lease}, deadline)
        except LeaseNotFound:
            answer = {}
        result = answer.get("result", {})
        ttl = _ttl(result)
        if ttl <= 0:
            raise Lost("its lease is gone: it ran out, or was revoked")
        return Grant(sent, ttl), _term(result)


def _base64(text: str) -> str:
    return binascii.b2a_base64(text.encode(), newline=False).decode()


def _text(data: object) -> str:
    try:
        return binascii.a2b_base64(str(data)).decode("utf-8", "backslashreplace")
    except ValueError:
        raise Unavailable("etcd's answer makes no sense: not base64") from None


def _keys(answer: object) -> list[dict[str, Any]]:
    return [_dict(key) for key in _list(_dict(answer).get("kvs", []))]


def _number(answer: object, field: str) -> int:
    try:
        # int64 comes as a string, zero not at all.
        return int(_dict(answer).get(field, 0))
    except (TypeError, ValueError, OverflowError):
        raise Unavailable(f"etcd's answer makes no sense: {field} is no number") from None


def _term(answer: object) -> int:
    return _number(_dict(answer).get("header", {}), "raft_term")


def _ttl(answer: object) -> int:
    ttl = _number(answer, "TTL")
    if ttl > _TTL_MAX:
        raise Unavailable("etcd's answer makes no sense: a lease that never ends")
    return ttl


def _dict(part: object) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise Unavailable("etcd's answer makes no sense: an object is missing")
    return part


def _list(part: object) -> list[Any]:
    if not isinstance(part, list):
        raise Unavailable("etcd's answer makes no sense: a list is missing")
    return part
