# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A small linearizable etcd with the v3 API on the fake clock, and a client that calls it over a faulty wire.

Answers have the gateway's format: int64 are strings, zeros are absent. Leases end exactly at their TTL, which is the
earliest time that etcd permits.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Dict, List, Tuple

from ctdb_etcd.client.v3_answers import understand

from .fake_wire import Request, Wire
from .fakes import Clock, Waiter


class Refusal(Exception):
    """An error answer of etcd: HTTP status and message."""


class EtcdV3:
    """The store; `answer` answers one request. `least` is the shortest TTL in seconds that it grants."""

    def __init__(self, clock: Clock, least: int = 2) -> None:
        self._clock = clock
        self._least = least
        self.revision = 1
        self.term = 7
        # The number of next keepalives that reach a deposed leader: it answers with the old term and renews nothing.
        self.deposed = 0
        self.members: List[Dict[str, Any]] = [{"ID": "1", "clientURLs": ["http://etcd1:2379"]}]
        self._keys: Dict[str, Dict[str, Any]] = {}
        self._leases: Dict[int, Tuple[int, float]] = {}

    @property
    def keys(self) -> Dict[str, str]:
        """Names and values of all current keys, oldest first."""
        self._expire()
        found = sorted(self._keys.items(), key=lambda item: int(item[1]["create"]))
        return {name: key["value"] for name, key in found}

    @property
    def leases(self) -> Dict[int, float]:
        """The seconds that each lease has left."""
        self._expire()
        return {lease: end - self._clock.now for lease, (_, end) in self._leases.items()}

    def put(self, name: str, value: str, lease: int = 0, ttl: int = 0) -> None:
        """Write a key as another client does, under a new lease if there is a ttl."""
        if ttl:
            self._leases[lease] = ttl, self._clock.now + ttl
        self._write(name, value, lease, self._next())

    def revoke(self, lease: int) -> None:
        """Remove a lease and its keys, because another client revoked it or it expired."""
        self._leases.pop(lease, None)
        bound = [name for name, key in self._keys.items() if key["lease"] == lease]
        if bound:
            self._next()
        for name in bound:
            del self._keys[name]

    def delete(self, name: str) -> None:
        """Delete a key as another client does; its lease stays."""
        self._next()
        del self._keys[name]

    def answer(self, path: str, body: Dict[str, Any]) -> Tuple[int, bytes]:
        """Answer one request: return HTTP status and body."""
        self._expire()
        try:
            found = {
                "kv/range": self._range,
                "kv/txn": self._txn,
                "lease/grant": self._grant,
                "lease/keepalive": self._keepalive,
                "lease/revoke": self._revoke,
                "lease/timetolive": self._time_to_live,
                "cluster/member/list": self._member_list,
            }[path](body)
            return 200, json.dumps(found).encode()
        except Refusal as refusal:
            status, message = refusal.args
            return status, json.dumps({"error": message, "message": message, "code": 5}).encode()

    def _member_list(self, body: Dict[str, Any]) -> Dict[str, Any]:
        return {"header": self._header(), "members": self.members}

    def _expire(self) -> None:
        for lease, (_, end) in list(self._leases.items()):
            if end <= self._clock.now:
                self.revoke(lease)

    def _next(self) -> int:
        self.revision += 1
        return self.revision

    def _header(self) -> Dict[str, Any]:
        return {"cluster_id": "77", "member_id": "1", "revision": str(self.revision), "raft_term": str(self.term)}

    def _write(self, name: str, value: str, lease: int, revision: int) -> None:
        before = self._keys.get(name)
        create = before["create"] if before else revision
        self._keys[name] = {"value": value, "create": create, "mod": revision, "lease": lease}

    def _within(self, body: Dict[str, Any]) -> List[str]:
        first, end = decoded(body["key"]), decoded(body.get("range_end", ""))
        return [name for name in self._keys if (first <= name < end if end else name == first)]

    def _range(self, body: Dict[str, Any]) -> Dict[str, Any]:
        names = self._within(body)
        if body.get("sort_target") == "CREATE":
            names.sort(key=lambda name: int(self._keys[name]["create"]), reverse=body.get("sort_order") == "DESCEND")
        else:
            names.sort()
        answer: Dict[str, Any] = {"header": self._header()}
        if names:
            answer["count"] = str(len(names))
            answer["kvs"] = [self._shown(name) for name in names[: body.get("limit") or None]]
            for key in answer["kvs"]:
                if body.get("keys_only"):
                    key.pop("value", None)
        return answer

    def _shown(self, name: str) -> Dict[str, str]:
        key = self._keys[name]
        shown = {
            "key": encoded(name),
            "create_revision": str(key["create"]),
            "mod_revision": str(key["mod"]),
            "version": "1",
            "value": encoded(key["value"]),
            "lease": str(key["lease"]),
        }
        return {field: text for field, text in shown.items() if text not in ("", "0")}

    def _txn(self, body: Dict[str, Any]) -> Dict[str, Any]:
        good = all(self._holds(compare) for compare in body["compare"])
        operations = body.get("success" if good else "failure", [])
        for operation in operations:
            put = operation.get("request_put")
            if put and put.get("lease") and int(put["lease"]) not in self._leases:
                raise Refusal(404, "etcdserver: requested lease not found")
        revision = self.revision + 1
        responses = [self._do(operation, revision) for operation in operations]
        answer: Dict[str, Any] = {"header": self._header(), "responses": responses}
        return {**answer, "succeeded": True} if good else answer

    def _holds(self, compare: Dict[str, Any]) -> bool:
        good = {"EQUAL": int.__eq__, "LESS": int.__lt__}[compare["result"]]
        field = {"CREATE": "create", "MOD": "mod"}[compare["target"]]
        wanted = int(compare.get(f"{field}_revision", 0))
        # If the key does not exist, etcd compares with revision 0.
        found = [int(self._keys[name][field]) for name in self._within(compare)] or [0]
        return all(good(revision, wanted) for revision in found)

    def _do(self, operation: Dict[str, Any], revision: int) -> Dict[str, Any]:
        ((kind, body),) = operation.items()
        if kind == "request_range":
            return {"response_range": self._range(body)}
        self.revision = revision
        if kind == "request_put":
            self._write(decoded(body["key"]), decoded(body["value"]), int(body.get("lease", 0)), revision)
            return {"response_put": {"header": {"revision": str(revision)}}}
        assert kind == "request_delete_range"
        for name in self._within(body):
            del self._keys[name]
        return {"response_delete_range": {"header": {"revision": str(revision)}}}

    def _grant(self, body: Dict[str, Any]) -> Dict[str, Any]:
        if body["ID"] in self._leases:
            raise Refusal(412, "etcdserver: lease already exists")
        ttl = max(body["TTL"], self._least)
        self._leases[body["ID"]] = ttl, self._clock.now + ttl
        return {"header": self._header(), "ID": str(body["ID"]), "TTL": str(ttl)}

    def _keepalive(self, body: Dict[str, Any]) -> Dict[str, Any]:
        header = self._header()
        ttl, _ = self._leases.get(body["ID"], (0, 0.0))
        if self.deposed:
            self.deposed -= 1
            header["raft_term"] = str(self.term - 1)
        elif ttl:
            self._leases[body["ID"]] = ttl, self._clock.now + ttl
        result = {"header": header, "ID": str(body["ID"])}
        return {"result": {**result, "TTL": str(ttl)} if ttl else result}

    def _revoke(self, body: Dict[str, Any]) -> Dict[str, Any]:
        if body["ID"] not in self._leases:
            raise Refusal(404, "etcdserver: requested lease not found")
        self.revoke(body["ID"])
        return {"header": self._header()}

    def _time_to_live(self, body: Dict[str, Any]) -> Dict[str, Any]:
        if body["ID"] not in self._leases:
            return {"header": self._header(), "ID": str(body["ID"]), "TTL": "-1"}
        ttl, end = self._leases[body["ID"]]
        left = int(end - self._clock.now)
        shown = {"header": self._header(), "ID": str(body["ID"]), "grantedTTL": str(ttl)}
        return {**shown, "TTL": str(left)} if left else shown


class Gateway:
    """The client of one fake etcd, with the interface that the lock uses."""

    endpoint = "etcd1:2379"

    def __init__(self, etcd: EtcdV3, clock: Clock, waiter: Waiter) -> None:
        self._etcd = etcd
        self.wire = Wire(clock, waiter)
        # The requested watches, each with its deadline, and the endpoints that were asked separately.
        self.watched: List[Tuple[Dict[str, Any], float]] = []
        self.asked: List[str] = []

    def changes(self, body: Dict[str, Any], until: float) -> Dict[int, int]:
        self.watched.append((body, until))
        return {7: 1}

    def apart(self, endpoint: str) -> Gateway:
        return self

    def ask(self, endpoint: str, path: str, body: Dict[str, Any], until: float) -> Tuple[Dict[str, Any], str]:
        self.asked.append(endpoint)
        return self.call(path, body, until), ""

    def call(self, path: str, body: Dict[str, Any], deadline: float) -> Dict[str, Any]:
        body = json.loads(json.dumps(body))
        answer: Dict[str, Any] = self.wire.carry(
            Request(path, body, deadline), lambda: understand(*self._etcd.answer(path, body))
        )
        return answer


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def decoded(text: str) -> str:
    return base64.b64decode(text).decode()
