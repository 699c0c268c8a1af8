# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A small etcd with the v2 API on the fake clock, and python-etcd's client that calls it over a faulty wire.

Only the client's network access is replaced: python-etcd itself encodes arguments and decodes answers.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, Optional, Tuple

import etcd

from ctdb_etcd.errors import Unavailable
from ctdb_etcd.client.v2 import Unanswered

from .fake_wire import Request, Wire
from .fakes import Clock, Waiter

KEYS = "/v2/keys"


class EtcdV2:
    """The store: in-order keys with a TTL, in directories that are made as needed. `answer` answers one request."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.index = 1
        self.members: List[Dict[str, Any]] = [{"id": "1", "clientURLs": ["http://etcd1:2379"]}]
        # Value, end of the TTL, created and modified index of each key.
        self._keys: Dict[str, Dict[str, Any]] = {}
        self._directories = {"/"}

    @property
    def keys(self) -> Dict[str, str]:
        """Names and values of all current keys, in order of their names."""
        self._expire()
        return {name: key["value"] for name, key in sorted(self._keys.items())}

    def left(self, name: str) -> float:
        """Return the seconds that a key has left."""
        end: float = self._keys[name]["end"]
        return end - self._clock.now

    def put(self, name: str, value: str, ttl: float = 3600) -> None:
        """Write a key as another client does."""
        self._next()
        self._write(name, value, ttl)

    def delete(self, name: str) -> None:
        """Delete a key as another client does."""
        self._next()
        del self._keys[name]

    def answer(self, method: str, name: str, params: Dict[str, Any]) -> Tuple[int, bytes]:
        """Answer one request: return HTTP status and body."""
        self._expire()
        if name == "/v2/members":
            return 200, json.dumps({"members": self.members}).encode()
        status, answer = getattr(self, f"_{method.lower()}")(name, params)
        return status, json.dumps(answer).encode()

    def _expire(self) -> None:
        for name, key in list(self._keys.items()):
            if key["end"] <= self._clock.now:
                del self._keys[name]

    def _next(self) -> int:
        self.index += 1
        return self.index

    def _write(self, name: str, value: str, ttl: float) -> None:
        self._directories.add(name.rpartition("/")[0])
        created = self._keys[name]["created"] if name in self._keys else self.index
        end = self._clock.now + ttl
        self._keys[name] = {"value": value, "end": end, "created": created, "modified": self.index}

    def _shown(self, name: str) -> Dict[str, Any]:
        key = self._keys[name]
        # etcd rounds up.
        left = int(key["end"] - self._clock.now) + 1
        if left - 1 == key["end"] - self._clock.now:
            left -= 1
        shown = {"key": name, "value": key["value"], "ttl": left}
        return {**shown, "createdIndex": key["created"], "modifiedIndex": key["modified"]}

    def _fault(self, status: int, code: int, message: str) -> Tuple[int, Dict[str, Any]]:
        return status, {"errorCode": code, "message": message, "cause": "/", "index": self.index}

    def _get(self, name: str, params: Dict[str, Any]) -> Tuple[int, Dict[str, Any]]:
        if name in self._keys:
            return 200, {"action": "get", "node": self._shown(name)}
        if name not in self._directories:
            return self._fault(404, 100, "Key not found")
        below = [self._shown(key) for key in sorted(self._keys) if key.startswith(name + "/")]
        return 200, {"action": "get", "node": {"key": name, "dir": True, "nodes": below}}

    def _post(self, name: str, params: Dict[str, Any]) -> Tuple[int, Dict[str, Any]]:
        key = f"{name}/{self._next():020}"
        self._write(key, params["value"], params["ttl"])
        return 201, {"action": "create", "node": self._shown(key)}

    def _put(self, name: str, params: Dict[str, Any]) -> Tuple[int, Dict[str, Any]]:
        found = self._keys.get(name)
        if not found and ("prevValue" in params or params.get("prevExist") == "true"):
            return self._fault(404, 100, "Key not found")
        if found and params.get("prevValue", found["value"]) != found["value"]:
            return self._fault(412, 101, "Compare failed")
        if found and int(params.get("prevIndex", found["modified"])) != found["modified"]:
            return self._fault(412, 101, "Compare failed")
        self._next()
        self._write(name, params["value"], params["ttl"])
        return 200, {"action": "compareAndSwap", "node": self._shown(name)}

    def _delete(self, name: str, params: Dict[str, Any]) -> Tuple[int, Dict[str, Any]]:
        found = self._keys.get(name)
        if not found:
            return self._fault(404, 100, "Key not found")
        if params.get("prevValue", found["value"]) != found["value"]:
            return self._fault(412, 101, "Compare failed")
        self._next()
        del self._keys[name]
        return 200, {"action": "compareAndDelete", "node": {"key": name, "modifiedIndex": self.index}}


class Answer:
    """The part of urllib3's response that python-etcd uses."""

    def __init__(self, status: int, data: bytes) -> None:
        self.status, self.data = status, data

    def getheaders(self) -> Dict[str, str]:
        return {}

    def getheader(self, name: str) -> None:
        return None


class Client(etcd.Client):  # type: ignore[misc]
    """python-etcd's client, which passes its requests to `ask(method, key, params)`."""

    def __init__(self, ask: Callable[[str, str, Dict[str, Any]], Tuple[int, bytes]]) -> None:
        super().__init__()
        self._ask = ask

    def api_execute(
        self, path: str, method: str, params: Optional[Dict[str, Any]] = None, timeout: Optional[float] = None
    ) -> Any:
        name = path[len(KEYS) :] if path.startswith(KEYS) else path
        return self._handle_server_response(Answer(*self._ask(method, name, dict(params or {}))))


class Members:
    """The client of one fake etcd, with the interface that the lock uses. Requests are named GET, POST, PUT, DELETE."""

    endpoint = "etcd1:2379"

    def __init__(self, state: EtcdV2, clock: Clock, waiter: Waiter) -> None:
        self._state = state
        self.wire = Wire(clock, waiter)
        # The cluster id in the last answer, and the endpoints that were asked separately.
        self.cluster: Optional[int] = 77
        self.asked: List[str] = []

    def apart(self, endpoint: str) -> Members:
        self.asked.append(endpoint)
        return self

    def ask(self, name: str, operation: Callable[[etcd.Client], Any], until: float) -> Any:
        return self._call(operation, until, False)

    def call(self, name: str, operation: Callable[[etcd.Client], Any], deadline: float) -> Any:
        return self._call(operation, deadline, True)

    def idle(self) -> Dict[int, int]:
        return {7: 1}

    def call_once(self, name: str, operation: Callable[[etcd.Client], Any], deadline: float) -> Any:
        try:
            return self._call(operation, deadline, False)
        except Unavailable as silence:
            raise Unanswered(str(silence)) from None

    def _call(self, operation: Callable[[etcd.Client], Any], deadline: float, repeated: bool) -> Any:
        def ask(method: str, name: str, params: Dict[str, Any]) -> Tuple[int, bytes]:
            request = Request(method, {"key": name, **params}, deadline)
            return self.wire.carry(request, lambda: self._state.answer(method, name, params), repeated)

        return operation(Client(ask))
