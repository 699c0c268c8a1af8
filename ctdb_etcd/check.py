# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""--check: could this node answer `0` or `1`? Each thing that this needs is really tried, the lock is not touched.

In v3 the right to write is tried by a transaction that holds the put of a key in the lock's directory, but whose
condition is never true: etcd looks at the permissions of all that a transaction could do before it looks at the
condition. No key beside the lock's could be written instead: those that "readwrite on the prefix" allows are all in
the lock's directory, where even for a moment they would be a holder. In v2 it is a swap of a key that never was.
A lease of our own is granted, renewed and revoked; no key is ever under it.
"""

from __future__ import annotations

import errno
import os
import time

from . import holders, observe
from .endpoints import Endpoints
from .failover import reason
from .fence import margin
from .gateway import Gateway
from .lock import LockError, Refused, Unavailable
from .locks import MEND_V2, V2_UNKNOWN
from .relations import LEAST_TRY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .config import Config
    from .log import Log
    from .observe import Patience

# Seconds that one call may take: less than what ctdbd's recovery check has for all of it.
_CALL = 4.0
# From here on clocks that differ are worth a word: certificates, and keys in v2, go by them.
_CLOCK = 1.5


class Check:
    """The items that were tried, in order."""

    def __init__(self, path: str, log: Log) -> None:
        self._log = log
        self.report: dict[str, Any] = {"format": 1, "exit": 1, "summary": "", "file": path, "items": []}

    def note(self, level: str, item: str, text: str) -> None:
        """Add an item; level is ok, warning or fault."""
        self.report["items"].append({"item": item, "level": level, "text": self._log.clean(text)})

    def look(self, config: Config, name: str, waiter: Patience) -> None:
        """Try what can be tried at etcd; `name` is empty if it is not known."""
        directory = f"{config.lock_prefix}/{config.locks_dir}/{name}/"
        try:
            seen = observe.endpoints(config, directory, waiter, self._log)
        except OSError as error:
            self.note("fault", "endpoints", f"DNS does not name those of {config.srv_domain}: {reason(error)}")
            return
        except Refused as refusal:
            self.note("fault", "tls", str(refusal))
            return
        self._endpoints(seen)
        if not any(endpoint["reachable"] for endpoint in seen):
            self.note("fault", "etcd", "no endpoint of etcd can be used from here")
            return
        config = observe.answering(config, seen)
        if config.api != "2":
            gateway = Gateway(config, Endpoints(config, waiter, self._log), waiter, self._log)
            _Trial(self, config, gateway).run(directory if name else "")
        if name:
            self._v2(config, directory, seen, waiter)
        self._clocks(seen)

    def verdict(self) -> int:
        """The exit status, put into the report."""
        faults = [item for item in self.report["items"] if item["level"] == "fault"]
        self.report["exit"] = 1 if faults else 0
        names = ", ".join(dict.fromkeys(item["item"] for item in faults))
        good = "this node can take the lock, or tell that another one holds it"
        self.report["summary"] = f"this node cannot take part in the lock: {names}" if faults else good
        return int(self.report["exit"])

    def _endpoints(self, seen: list[dict[str, Any]]) -> None:
        for endpoint in seen:
            item = f"endpoint {endpoint['address']}"
            if endpoint["healthy"]:
                text = f"etcd {endpoint['version']}, {endpoint['latency'] * 1000:.1f} ms"
                self.note("ok", item, text + (", leader" if endpoint["leader"] else ""))
            else:
                # Not a fault of this node as long as the others do: what follows tells.
                alarms = f"alarm {' '.join(endpoint['alarms'])}" if endpoint["alarms"] else ""
                self.note("warning", item, " ".join(filter(None, (endpoint["error"], alarms))))

    def _v2(self, config: Config, directory: str, seen: list[dict[str, Any]], waiter: Patience) -> None:
        if config.api == "3":
            return
        if config.api == "auto" and not any(endpoint["v2"] for endpoint in seen):
            # As locks.v2_served decides.
            nobody = os.strerror(errno.ECONNREFUSED)
            silent = [endpoint["v2"] is None and endpoint["error"] != nobody for endpoint in seen]
            if not any(endpoint["v2"] is False for endpoint in seen) or 2 * sum(silent) >= len(silent):
                self.note("fault", "v2", f"{V2_UNKNOWN}: {MEND_V2}")
            else:
                self.note("ok", "v2", "not served by etcd: the lock is held in v3 alone")
            return
        try:
            self._try_v2(config, directory, waiter)
        except (LockError, ValueError) as error:
            self.note("fault", "v2", str(error))

    def _try_v2(self, config: Config, directory: str, waiter: Patience) -> None:
        keys = holders.in_v2(config, directory, waiter, self._log, time.time())
        import etcd

        from .members_v2 import Members

        members = Members(config, Endpoints(config, waiter, self._log), waiter, self._log)
        name = f"{directory}{_never()}"
        try:
            members.call(lambda client: client.write(name, "", ttl=1, prevValue=name), time.monotonic() + _CALL)
        except (etcd.EtcdKeyNotFound, etcd.EtcdCompareFailed):
            pass
        held = ": somebody holds the lock there" if keys else ""
        self.note("ok", "v2", f"served by etcd, readwrite on {directory}{held}")

    def _clocks(self, seen: list[dict[str, Any]]) -> None:
        for endpoint in seen:
            if abs(endpoint["clock_offset"] or 0) > _CLOCK:
                why = "set both clocks: certificates and the keys of the v2 API go by them, leases in v3 don't"
                self.note("warning", "clock", f"of {endpoint['address']}: {endpoint['clock_offset']:+g} s: {why}")
        known = any(endpoint["clock_offset"] is not None for endpoint in seen)
        if known and not any(item["item"] == "clock" for item in self.report["items"]):
            self.note("ok", "clock", "those of etcd's members are as ours, to the second")


class _Trial:
    """What the v3 lock needs, asked in its order; the first fault ends it."""

    def __init__(self, check: Check, config: Config, gateway: Gateway) -> None:
        self._check = check
        self._config = config
        self._gateway = gateway

    def run(self, directory: str) -> None:
        config = self._config
        lease = int.from_bytes(os.urandom(8), "big") >> 1 or 1
        try:
            # A login goes before the first call of all.
            if not self._step("login" if config.username else "lease", lambda: self._grant(lease)):
                return
            self._login(directory)
            if not self._step("lease", lambda: self._renew(lease)):
                return
        finally:
            try:
                self._gateway.call("lease/revoke", {"ID": lease}, time.monotonic() + 1)
            except LockError:
                pass  # it ends by itself

        if directory and self._step("permission to read", lambda: self._read(directory)):
            if not config.username:
                self._check.note("ok", "login", "etcd wants none")
            self._step("permission to write", lambda: self._write(directory))

    def _step(self, item: str, attempt: Callable[[], object]) -> bool:
        try:
            attempt()
        except (LockError, KeyError, TypeError, ValueError) as error:
            self._check.note("fault", item, str(error))
            return False
        return True

    def _call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._gateway.call(path, body, time.monotonic() + _CALL)

    def _grant(self, lease: int) -> None:
        self._call("lease/grant", {"ID": lease, "TTL": self._config.lock_ttl})

    def _login(self, directory: str) -> None:
        user = self._config.username
        if user and self._gateway.logged_in:
            self._check.note("ok", "login", f"as {user}")
        elif user:
            self._check.note("warning", "login", f"username is {user}, but etcd's auth is not enabled")

    def _renew(self, lease: int) -> None:
        """The safety rule's inequality, with what etcd grants and how long it takes."""
        config = self._config
        began = time.monotonic()
        answer = self._call("lease/keepalive", {"ID": lease})
        took = time.monotonic() - began
        ttl = int(answer["result"]["TTL"])
        needs = config.refresh + 2 * max(took, min(config.read_timeout, LEAST_TRY))
        text = f"granted for {ttl} s, renewed in {took:.3f} s"
        rule = f"refresh {config.refresh:g} s and two tries ({needs:.1f} s)"
        if needs > ttl - margin(ttl):
            raise Unavailable(f"{text}: {rule} do not fit into it: etcd is too slow, or set a longer lock_ttl")
        self._check.note("ok", "lease", f"{text}; {rule} fit into it")

    def _read(self, directory: str) -> None:
        found = holders.in_v3(self._gateway, directory, time.time())
        if found["stale"]:
            raise Unavailable(found["error"])
        held = "somebody holds the lock: this node would answer 1" if found["keys"] else "the lock is free"
        self._check.note("ok", "permission to read", f"{directory}: {held}")

    def _write(self, directory: str) -> None:
        put = {"key": holders.base64(directory + _never()), "value": ""}
        never = {
            "key": holders.base64(directory),
            "range_end": holders.base64(directory[:-1] + "0"),
            "target": "CREATE",
            "result": "LESS",
            "create_revision": 0,
        }
        body = {"compare": [never], "success": [{"request_put": put}]}
        if self._call("kv/txn", body).get("succeeded"):
            raise Refused("etcd took a condition for true that cannot be: it must not be trusted with a lock")
        self._check.note("ok", "permission to write", f"{directory}: etcd would let us; nothing was written")


def _never() -> str:
    """A key's name that nobody uses."""
    return f"check-{os.urandom(8).hex()}"
