# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The lock on etcd's v2 API: an in-order key with a TTL, the lowest one owns the directory.

It is the recipe of Samba's own helper, so that both exclude each other, without what makes that one fail: a
contender looks before it writes and takes its key away again, and a renewal is a compare-and-swap on a value
that only this process writes, so that none, however late, can bring back a key whose time was over.

What it cannot do: the end of a key hangs on the wall clocks of etcd's members (the one that was asked sets
it, the leader sees to it), so a leader whose clock is ahead shortens every lease.
"""

from __future__ import annotations

import time
from functools import partial

import etcd

from .failover import OtherCluster
from .fence import Grant, Moment
from .identity import describe
from .lock import Contended, Lost, Unavailable
from .members_v2 import Unanswered
from .takeover import Rival

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .identity import Holder
    from .log import Log
    from .members_v2 import Members
    from .takeover import Takeover


class LockV2:
    """One lock: a directory of in-order keys (its path ending in a slash), and a TTL in seconds."""

    def __init__(
        self, members: Members, directory: str, ttl: int, holder: Holder, takeover: Takeover, log: Log
    ) -> None:
        self._members = members
        self._directory = directory.rstrip("/")
        self._ttl = ttl
        self._holder = holder
        self._takeover = takeover
        self._log = log
        self._begun = False
        self._key = ""

    def look(self, deadline: float) -> None:
        """See lock.Lock.look."""
        self._takeover.contend(lambda: self._front(deadline), deadline)

    def take(self, deadline: float) -> Grant:
        """See lock.Lock.take."""
        value = self._holder.text()
        while True:
            grant = self._append(value, deadline)
            keys = self._keys(deadline)
            # More than one of ours, if an append came through that seemed not to.
            mine = self._mine(keys)
            if mine:
                self._key = mine[0].key
                self._pass(keys[: keys.index(mine[0])], deadline)
                return grant if grant and grant.left() > grant.ttl / 2 else self.refresh(deadline)
            if time.monotonic() >= deadline:
                raise Unavailable("etcd gave no answer in time to the making of a key")

    def refresh(self, deadline: float) -> Grant:
        """See lock.Lock.refresh."""
        try:
            return self._refresh(deadline)
        except OtherCluster as refusal:
            raise Lost(f"etcd is not the one that granted it: {refusal}") from None

    def _refresh(self, deadline: float) -> Grant:
        value = self._holder.text()
        sent = Moment.now()
        try:
            node = self._members.call(
                lambda client: client.write(self._key, value, ttl=self._ttl, prevValue=value), deadline
            )
        except (etcd.EtcdKeyNotFound, etcd.EtcdCompareFailed):
            raise Lost("its key is gone: it ran out, or was deleted") from None
        grant = Grant(sent, _ttl(node))
        keys = self._keys(deadline)
        if not keys or keys[0].key != self._key:
            # Samba's helper can bring back a key of its own that had run out.
            raise Lost("another key is in front of it")
        self._delete(self._mine(keys[1:]), deadline)
        return grant

    def release(self, deadline: float) -> None:
        """See lock.Lock.release."""
        if self._begun:
            self._delete(self._mine(self._keys(deadline)), deadline)
            self._begun = False

    @property
    def endpoint(self) -> str:
        """See lock.Lock.endpoint."""
        return self._members.endpoint

    def __str__(self) -> str:
        return f"{self._directory}/" + (f" (v2, key {self._key.rpartition('/')[2].lstrip('0')})" if self._key else "")

    def _front(self, deadline: float) -> Rival | None:
        keys = self._keys(deadline)
        # A key whose time is over has no TTL any more until etcd removes it.
        return Rival(keys[0].value, lambda: keys[0].ttl or 0) if keys else None

    def _pass(self, ahead: list[Any], deadline: float) -> None:
        """Delete the keys of dead processes ahead of ours; the first one of another makes us contended."""
        for key in ahead:
            if not self._takeover.is_dead(key.value):
                raise Contended(key.value)
            self._delete([key], deadline)
            self._log.info(f"evicted from {self._directory}/ (v2), its process is gone: {describe(key.value)}")

    def _append(self, value: str, deadline: float) -> Grant | None:
        """Make a key; None if it is not known what came of it."""
        self._begun = True
        sent = Moment.now()
        try:
            node = self._members.call_once(
                lambda client: client.write(self._directory, value, ttl=self._ttl, append=True), deadline
            )
        except Unanswered as silence:
            self._log.info(f"not taken yet: {silence}")
            return None
        return Grant(sent, _ttl(node))

    def _keys(self, deadline: float) -> list[Any]:
        """All keys of the directory, the owner's first."""
        try:
            directory = self._members.call(
                lambda client: client.read(self._directory, recursive=True, sorted=True, quorum=True), deadline
            )
        except etcd.EtcdKeyNotFound:
            return []
        return sorted((leaf for leaf in directory.leaves if not leaf.dir), key=lambda leaf: str(leaf.key))

    def _mine(self, keys: list[Any]) -> list[Any]:
        return [key for key in keys if key.value == self._holder.text()]

    def _delete(self, keys: list[Any], deadline: float) -> None:
        for key in keys:
            delete = partial(etcd.Client.delete, key=key.key, prevValue=key.value)
            try:
                self._members.call(delete, deadline)
            except (etcd.EtcdKeyNotFound, etcd.EtcdCompareFailed):
                pass


def _ttl(node: Any) -> int:
    if not isinstance(node.ttl, int):
        raise Unavailable("etcd's answer makes no sense: a key without its TTL")
    return node.ttl
