# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The lock on etcd's v3 API: a key under a lease, put by a transaction into an empty directory.

The owner of the oldest key in the directory holds the lock; `etcdctl lock` on the same path takes part. A contender
that finds the lock held sends one linearizable read and nothing else. We choose the lease's ID, and the key is named
after it. So every request can be repeated, and the outcome of one without an answer can be read.
"""

from __future__ import annotations

import os
import time

from ..client.v3_answers import base64, cluster_of, int64, items, mapping, raft_term, text
from ..errors import Contended, LeaseNotFound, LockError, Lost, Refused, TooLong, Unavailable
from .holder import TOO_LONG, Key, describe, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ..client.v3 import Client
    from ..fence import Grant
    from ..log import Log
    from .takeover import Contender
    from .v3_lease import Lease

# How often one refresh renews because etcd's leader changed in between.
_TERMS = 3
# Seconds for a clean-up; without it the lease's end does the same.
_CLEAN_UP = 1.0


class Lock:
    """An open.ApiLock: a directory of keys ending in a slash, and a lease of ttl seconds (etcd may grant more)."""

    def __init__(self, client: Client, directory: str, ttl: int, log: Log) -> None:
        self._client = client
        self._directory = directory
        self._ttl = ttl
        self._log = log
        self._lease: Lease | None = None
        self._key = ""
        self._revision = 0
        self._seen: int  # the revision of etcd in which our key was last seen
        # All keys that begin with the directory: up to the byte after its slash.
        self._all = {"key": base64(directory), "range_end": base64(directory[:-1] + "0")}
        self._oldest: dict[str, Any] = {**self._all, "sort_order": "ASCEND", "sort_target": "CREATE", "limit": 1}

    def look(self, contender: Contender, deadline: float) -> None:
        contender.contend(self._front, self._left, deadline)

    def take(self, contender: Contender, deadline: float) -> Grant:
        while True:
            try:
                return self._take(contender, deadline)
            except Lost as loss:
                assert self._lease
                # etcd was away for longer than the lease: start again. The deadline bounds every call.
                self._log.info(f"not taken yet: {loss}")
                # An abandoned put may still be on its way. Without the lease it fails.
                self._lease.end(min(deadline, time.monotonic() + _CLEAN_UP))
                contender.pause(deadline)

    def refresh(self, deadline: float) -> Grant:
        assert self._lease
        for _ in range(_TERMS):
            grant, term = self._lease.keep_alive(deadline)
            # A key can be deleted under a live lease, and some releases of etcd renew a revoked lease.
            answer = self._client.call("kv/range", self._own, deadline)
            if not self._is_there(answer):
                raise Lost("its key is gone: it was deleted, or its lease was revoked")
            self._seen = int64(answer.get("header"), "revision")
            # A deposed leader that does not know it yet renews leases that the new leader lets expire. No release of
            # etcd prevents that reliably (up to 3.7.1 at least). The read is linearizable: its term is the term of the
            # leader that counts now. The renewal counts only if the same term answered it.
            if raft_term(answer) == term:
                return grant
            self._log.info("renewed by a deposed leader of etcd: renewing again")
        raise Unavailable("etcd keeps changing its leader")

    def _is_there(self, answer: dict[str, Any]) -> bool:
        """Whether an answer has our key."""
        return any(key.revision == self._revision for key in _keys(answer))

    @property
    def _own(self) -> dict[str, Any]:
        """The request for our key."""
        return {"key": base64(self._key), "keys_only": True}

    def changes(self, until: float) -> dict[int, int]:
        """The key's deletion, by its owner's hand or with its lease."""
        # Not from the key's own revision: etcd ends a watch that would begin in what it has compacted.
        own = {"key": base64(self._key), "start_revision": self._seen + 1, "filters": ["NOPUT"]}
        return self._client.changes(own, until)

    def release(self, deadline: float) -> None:
        if self._lease:
            self._lease.revoke(deadline)
            self._lease = None

    @property
    def endpoint(self) -> str:
        return self._client.endpoint

    def __str__(self) -> str:
        return self._directory + (f" (v3, revision {self._revision})" if self._revision else "")

    def known_at(self, endpoint: str, until: float) -> tuple[int, bool]:
        client = self._client.apart(endpoint)
        if not self._revision:
            answer, _ = client.ask(endpoint, "lease/timetolive", {"ID": self._lease.id if self._lease else 0}, until)
            return cluster_of(answer), int64(answer, "TTL") > 0
        answer, _ = client.ask(endpoint, "kv/range", self._own, until)
        return cluster_of(answer), self._is_there(answer)

    def members(self, deadline: float) -> list[list[str]]:
        members = items(self._client.call("cluster/member/list", {}, deadline).get("members"))
        return [[str(url) for url in items(mapping(member).get("clientURLs", []))] for member in members]

    def keys(self, deadline: float, most: int) -> tuple[list[Key], str]:
        """If most members do not answer, what one member remembers."""
        now = time.monotonic()
        half, quarter = now + (deadline - now) / 2, now + (deadline - now) * 3 / 4
        search = {**self._oldest, "limit": most}
        try:
            keys = self._range(search, half)
        except Unavailable as failure:
            try:
                return self._range({**search, "serializable": True}, deadline), str(failure)
            except LockError:
                raise failure from None
        return [self._with_lease(key, quarter) for key in keys], ""

    def try_lease(self, deadline: float, meanwhile: Callable[[], None]) -> tuple[float, float]:
        """No key is ever under this lease."""
        self._lease = lease = self._make_lease()
        try:
            lease.grant(deadline)
            began = time.monotonic()
            grant, _ = lease.keep_alive(deadline)
            took = time.monotonic() - began
            meanwhile()
            return grant.ttl, took
        finally:
            lease.end(time.monotonic() + _CLEAN_UP)
            self._lease = None

    def try_write(self, deadline: float) -> None:
        """No other key could be written instead: "readwrite on the prefix" allows none.

        A put stands in a transaction whose condition is never true: etcd checks the permissions for everything
        that a transaction could do before it evaluates the condition.
        """
        put = {"key": base64(f"{self._directory}check-{os.urandom(8).hex()}"), "value": ""}
        never = {**self._all_created(0), "result": "LESS"}
        body = {"compare": [never], "success": [{"request_put": put}]}
        if self._client.call("kv/txn", body, deadline).get("succeeded"):
            raise Refused("etcd accepted an impossible condition: do not trust it with a lock")

    def _with_lease(self, key: Key, until: float) -> Key:
        if key.lease and time.monotonic() < until:
            try:
                answer = self._client.call("lease/timetolive", {"ID": key.lease}, until)
                # -1: it has just expired.
                key.left, key.ttl = max(int64(answer, "TTL"), 0), int64(answer, "grantedTTL") or None
            except LockError:
                pass
        return key

    def _take(self, contender: Contender, deadline: float) -> Grant:
        contender.holder.begin()
        self._revision = 0
        self._lease = self._make_lease()
        self._key = f"{self._directory}{self._lease.id:x}"
        grant = self._lease.grant(deadline)
        value = contender.holder.text()
        first = self._put(value, [self._all_created(0)], [], deadline)
        if first and contender.is_dead(first.value):
            first = self._replace(value, first, deadline)
        if first:
            raise Contended(first.value)
        return grant if grant.fresh() else self.refresh(deadline)

    def _make_lease(self, existing: int = 0) -> Lease:
        # Not needed where somebody else holds the lock.
        from .v3_lease import Lease

        return Lease(self._client, self._ttl, existing)

    def _front(self, deadline: float) -> Key | None:
        return next(iter(self._range(self._oldest, deadline)), None)

    def _range(self, search: dict[str, Any], deadline: float) -> list[Key]:
        try:
            return _keys(self._client.call("kv/range", search, deadline))
        except TooLong:
            # Nobody should write such values; that there is a key is all that counts.
            keys = _keys(self._client.call("kv/range", {**search, "keys_only": True}, deadline))
            for key in keys:
                key.value = TOO_LONG
            return keys

    def _left(self, key: Key, deadline: float) -> float:
        return int64(self._client.call("lease/timetolive", {"ID": key.lease}, deadline), "TTL")

    def _replace(self, value: str, dead: Key, deadline: float) -> Key | None:
        """Put our key in the place of this one, if it is unchanged and nobody waits behind it.

        Returns the key in front if that is not ours.
        """
        key = base64(dead.name)
        same = {"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": dead.modified}
        alone = self._all_created(dead.revision)
        first = self._put(value, [same, alone], [{"request_delete_range": {"key": key}}], deadline)
        if not first:
            self._log.info(f"evicted from {self._directory}, its process is gone: {describe(dead.value)}")
            if dead.lease:
                self._make_lease(dead.lease).end(min(deadline, time.monotonic() + _CLEAN_UP))
        return first

    def _put(
        self, value: str, compare: list[dict[str, Any]], before: list[dict[str, Any]], deadline: float
    ) -> Key | None:
        """Put our key if all of compare is true, after the operations `before`. Returns the key in front if not."""
        assert self._lease
        put = {"key": base64(self._key), "value": base64(value), "lease": self._lease.id}
        own = {"request_range": {"key": put["key"]}}
        body = {
            "compare": compare,
            "success": [*before, {"request_put": put}, own],
            "failure": [{"request_range": self._oldest}, own],
        }
        try:
            answer = self._client.call("kv/txn", body, deadline)
        except LeaseNotFound:
            raise Lost("the lease ended before it was used") from None
        parts, asked = items(answer.get("responses")), body["success" if answer.get("succeeded") else "failure"]
        if len(parts) != len(asked):
            raise Unavailable("etcd's answer makes no sense: not a response to each request")
        first, mine = (_keys(mapping(part).get("response_range", {})) for part in (parts[0], parts[-1]))
        if mine and mine[0].value != value:
            if "nonce" in read(mine[0].value):
                # A clone of this machine drew the same random ID: the lease is the clone's, too.
                self._lease = None
            raise Contended(mine[0].value)
        if mine:
            # Put by this request, or by an earlier try of it.
            self._revision = self._seen = mine[0].revision
            return None
        if answer.get("succeeded"):
            raise Unavailable("etcd's answer makes no sense: the key that was put is not there")
        if not first:
            raise Lost("the holder seen a moment ago is gone")
        return first[0]

    def _all_created(self, revision: int) -> dict[str, Any]:
        """A compare: every key in the directory was created by this revision; 0: there is none."""
        return {**self._all, "target": "CREATE", "result": "EQUAL", "create_revision": revision}


def _key(key: object) -> Key:
    name, value = (text(mapping(key).get(field, "")) for field in ("key", "value"))
    return Key(name, value, *(int64(key, field) for field in ("create_revision", "mod_revision", "lease")))


def _keys(answer: object) -> list[Key]:
    return [_key(key) for key in items(mapping(answer).get("kvs", []))]
