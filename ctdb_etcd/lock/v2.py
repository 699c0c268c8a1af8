# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The lock on etcd's v2 API: an in-order key with a TTL, the lowest one owns the directory.

It is the recipe of Samba's own helper, so that both exclude each other, without that helper's faults: a contender
looks before it writes and deletes its key again, and a renewal is a compare-and-swap on a value that only this process
writes. So no renewal, however late, brings back an expired key.

A renewal that a member passes on late would shorten what a later one has granted (docs/DESIGN.md). So a renewal
compares the key's index as well: of those under way only the first one has an effect.

The limit: a key expires by the wall clocks of etcd's members (the member that was asked sets the time, the leader
enforces it), so a leader whose clock is ahead shortens every lease.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any, Callable

import etcd

from ..client.v2 import Client, Unanswered
from ..client.v3_answers import is_int64, items, mapping
from ..errors import Contended, Lost, Refused, Unavailable
from ..fence import Grant, now
from ..log import Log
from .holder import Key, describe
from .takeover import Contender

# How often one refresh renews because an earlier renewal, without an answer, took effect before it.
_RENEWALS = 3


class Lock:
    """An open.ApiLock: a directory of in-order keys (its path ending in a slash), and a TTL in seconds."""

    def __init__(self, client: Client, directory: str, ttl: int, log: Log) -> None:
        self._client = client
        self._directory = directory.rstrip("/")
        self._ttl = ttl
        self._log = log
        self._value = ""
        self._key = ""
        self._index: int  # of its last change

    def look(self, contender: Contender, deadline: float) -> None:
        # An expired key has no TTL until etcd removes it.
        contender.contend(self._front, lambda key, _: key.left or 0, deadline)

    def take(self, contender: Contender, deadline: float) -> Grant:
        self._value = contender.holder.text()
        while True:
            granted = self._append(deadline)
            keys = self._keys(deadline)
            # More than one is ours if an append seemed to fail and had succeeded.
            mine = self._mine(keys)
            if mine:
                self._key, self._index = mine[0].name, mine[0].modified
                self._evict(contender, keys[: keys.index(mine[0])], deadline)
                # The key of an earlier append may end before this grant.
                grant = granted.get(self._index)
                return grant if grant and grant.fresh() else self.refresh(deadline)
            contender.pause(deadline)
            if time.monotonic() >= deadline:
                raise Unavailable("etcd did not answer the creation of a key in time")

    def refresh(self, deadline: float) -> Grant:
        grant = self._renew(deadline)
        keys = self._keys(deadline)
        if not keys or keys[0].name != self._key:
            # Samba's helper can bring back a key of its own that had expired.
            raise Lost("another key is in front of it")
        for key in self._mine(keys[1:]):
            self._delete(key, deadline)
        return grant

    def _renew(self, deadline: float) -> Grant:
        for _ in range(_RENEWALS):
            sent = now()
            try:
                ttl, self._index = self._client.call("renew", self._swap, deadline)
                if ttl <= 0:
                    raise Lost("its key has run out already: a clock of etcd's was set forward")
                return Grant(sent, ttl)
            except etcd.EtcdKeyNotFound:
                raise Lost("its key is gone: it ran out, or was deleted") from None
            except etcd.EtcdCompareFailed:
                ours = [key for key in self._mine(self._keys(deadline)) if key.name == self._key]
                if not ours:
                    raise Lost("its key was overwritten") from None
                # An earlier renewal had no answer, and an effect.
                self._index = ours[0].modified
        raise Unavailable("its key changes all the time")

    def _swap(self, client: etcd.Client) -> tuple[int, int]:
        compared = {"prevValue": self._value, "prevIndex": self._index}
        return self._granted(client.write(self._key, self._value, ttl=self._ttl, **compared))

    def changes(self, until: float) -> dict[int, int]:
        """The end of the connection. python-etcd could watch the key in a thread only."""
        return self._client.idle()

    def release(self, deadline: float) -> None:
        if self._value:
            for key in self._mine(self._keys(deadline)):
                self._delete(key, deadline)
            self._value = ""

    def known_at(self, endpoint: str, until: float) -> tuple[int, bool]:
        client = self._client.apart(endpoint)
        try:
            found = client.ask("look", lambda one: one.read(self._key or self._directory, quorum=True).value, until)
        except etcd.EtcdKeyNotFound:
            found = None
        except Refused:
            # Without permission to read only the cluster is known.
            if client.cluster is None:
                raise
            found = self._value
        if client.cluster is None:
            raise Unavailable("etcd's answer makes no sense: it names no cluster")
        return client.cluster, not self._key or found == self._value

    def members(self, deadline: float) -> list[list[str]]:
        members = self._client.call("members", lambda client: client.members, deadline).values()
        return [[str(url) for url in items(mapping(member).get("clientURLs") or [])] for member in members]

    def keys(self, deadline: float, most: int) -> tuple[list[Key], str]:
        return self._keys(deadline)[:most], ""

    def try_lease(self, deadline: float, meanwhile: Callable[[], None]) -> None:
        """The API has none, a key's TTL is what was asked for."""

    def try_write(self, deadline: float) -> None:
        """A swap of a key that does not exist."""
        name = f"{self._directory}/check-{os.urandom(8).hex()}"
        try:
            self._client.call("try", lambda client: client.write(name, "", ttl=1, prevValue=name), deadline)
        except (etcd.EtcdKeyNotFound, etcd.EtcdCompareFailed):
            pass

    @property
    def endpoint(self) -> str:
        return self._client.endpoint

    def __str__(self) -> str:
        return f"{self._directory}/" + (f" (v2, key {self._key.rpartition('/')[2].lstrip('0')})" if self._key else "")

    def _front(self, deadline: float) -> Key | None:
        return next(iter(self._keys(deadline)), None)

    def _evict(self, contender: Contender, ahead: list[Key], deadline: float) -> None:
        """Delete the keys of dead processes ahead of ours. Raises Contended at the first other key."""
        for key in ahead:
            if not contender.is_dead(key.value) or not self._delete(key, deadline):
                raise Contended(key.value)
            self._log.info(f"evicted from {self._directory}/ (v2), its process is gone: {describe(key.value)}")

    def _append(self, deadline: float) -> dict[int, Grant]:
        """Make a key; return its grant by the index of its creation, nothing if the outcome is unknown."""
        sent = now()
        try:
            ttl, index = self._client.call_once(
                "append",
                lambda client: self._granted(client.write(self._directory, self._value, ttl=self._ttl, append=True)),
                deadline,
            )
        except (Unanswered, etcd.EtcdKeyNotFound, etcd.EtcdCompareFailed) as failure:
            self._log.info(f"not taken yet: {failure}")
            return {}
        return {index: Grant(sent, ttl)}

    def _granted(self, leaf: Any) -> tuple[int, int]:
        """The TTL of a key that was written, and the index of this change. Raises Unavailable."""
        key = _key(leaf)
        if key.left is None:
            raise Unavailable("etcd's answer makes no sense: a key without its TTL")
        # A member whose clock was set back while it kept the request reports more than was asked for.
        return min(key.left, self._ttl), key.modified

    def _keys(self, deadline: float) -> list[Key]:
        """All keys of the directory, the owner's first."""

        def read(client: etcd.Client) -> list[Key]:
            try:
                directory = client.read(self._directory, recursive=True, sorted=True, quorum=True)
            except etcd.EtcdCompareFailed:
                raise Unavailable("etcd's answer makes no sense: a compare failed that was not requested") from None
            return sorted((_key(leaf) for leaf in directory.leaves if not leaf.dir), key=lambda key: key.name)

        try:
            keys: list[Key] = self._client.call("read", read, deadline)
        except etcd.EtcdKeyNotFound:
            return []
        return keys

    def _mine(self, keys: list[Key]) -> list[Key]:
        return [key for key in keys if key.value == self._value]

    def _delete(self, key: Key, deadline: float) -> bool:
        """Delete a key unless its value has changed; return whether it is gone."""
        try:
            self._client.call("delete", partial(etcd.Client.delete, key=key.name, prevValue=key.value), deadline)
        except etcd.EtcdKeyNotFound:
            pass
        except etcd.EtcdCompareFailed:
            return False
        return True


def _key(leaf: Any) -> Key:
    """A leaf of python-etcd's, checked. Raises Unavailable."""
    numbers = leaf.createdIndex, leaf.modifiedIndex, 0 if leaf.ttl is None else leaf.ttl
    value = "" if leaf.value is None else leaf.value
    if not (isinstance(leaf.key, str) and isinstance(value, str) and all(map(is_int64, numbers))):
        raise Unavailable("etcd's answer makes no sense: this is not a key")
    return Key(leaf.key, value, leaf.createdIndex, leaf.modifiedIndex, left=leaf.ttl)
