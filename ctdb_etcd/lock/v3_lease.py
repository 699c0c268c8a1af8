# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The lease under the key on etcd's v3 API: from when it counts, and in which raft term it was renewed.

We choose its ID, so each request can be repeated. A contender that finds the lock held does not import this module.
"""

from __future__ import annotations

import os

from ..client.v3_answers import int64, raft_term
from ..errors import LeaseExists, LeaseNotFound, Lost, Refused, Unavailable
from ..fence import TTL_MAX, Grant, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..client.v3 import Client


class Lease:
    """A lease of ttl seconds (etcd may grant more), under a random ID; or an existing one (0: none), to be ended."""

    def __init__(self, client: Client, ttl: int, existing: int) -> None:
        self._client = client
        self._ttl = ttl
        # Positive as etcd's are, and never its "no lease" 0.
        self.id = existing or int.from_bytes(os.urandom(8), "big") >> 1 or 1

    def grant(self, deadline: float) -> Grant:
        """Ask for it. Raises Unavailable, Refused."""
        sent = now()
        try:
            answer = self._client.call("lease/grant", {"ID": self.id, "TTL": self._ttl}, deadline)
        except LeaseExists:
            # An earlier try of ours had succeeded; no lease is shorter than what was asked for.
            return Grant(sent, self._ttl)
        return Grant(sent, _ttl(answer))

    def keep_alive(self, deadline: float) -> tuple[Grant, int]:
        """Renew it; return the grant and the raft term of the answer. Raises Lost, Unavailable, Refused."""
        sent = now()
        try:
            answer = self._client.call("lease/keepalive", {"ID": self.id}, deadline)
        except LeaseNotFound:
            answer = {}
        result = answer.get("result", {})
        ttl = _ttl(result)
        if ttl <= 0:
            raise Lost("its lease is gone: it ran out, or was revoked")
        return Grant(sent, ttl), raft_term(result)

    def revoke(self, deadline: float) -> None:
        """End it, and the key under it; harmless if there is none. Raises Unavailable, Refused."""
        try:
            self._client.call("lease/revoke", {"ID": self.id}, deadline)
        except LeaseNotFound:
            pass

    def end(self, deadline: float) -> None:
        """Revoke a lease that has no key: one that cannot be revoked in time ends by itself. Raises Stopped."""
        try:
            self.revoke(deadline)
        except (Unavailable, Refused):
            pass


def _ttl(answer: object) -> int:
    ttl = int64(answer, "TTL")
    if ttl > TTL_MAX:
        raise Unavailable("etcd's answer makes no sense: a lease that never ends")
    return ttl
