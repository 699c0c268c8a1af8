# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""--check: could this node answer `0` or `1`? Everything that this needs is tried for real; the lock is not touched.

A lease of our own is granted, renewed and revoked; no key is ever under it. How the permission to write is tried is
described at each API's Lock.try_write.
"""

from __future__ import annotations

import errno
import os
import time

from ..client.endpoints import Endpoints
from ..config.parse import Config, parse
from ..ctdb.cluster_name import is_hosts_own
from ..ctdb.settings import elsewhere, leader_timeout
from ..errors import GrpcOnly, LockError, Refused, Unavailable
from ..fence import LEAST_TRY, fits
from ..lock import one_etcd
from ..lock.open import apis_in_use, open_api
from ..lock.v2_served import V2_UNKNOWN, V2_UNKNOWN_ADVICE, is_denied
from . import endpoint_health

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ..lock.open import ApiLock, Client
    from ..log import Log
    from ..waiting import Patient
    from .command import Subject

# Seconds that one call may take: less than ctdbd allows for a whole recovery check.
_CALL = 4.0


class Check:
    """The items that were tried, in order."""

    def __init__(self, path: str, log: Log) -> None:
        self._log = log
        self.report: dict[str, Any] = {"format": 1, "exit": 1, "summary": "", "file": path, "items": []}

    def note(self, level: str, item: str, text: str) -> None:
        """Add an item; level is ok, warning or fault."""
        self.report["items"].append({"item": item, "level": level, "text": text})

    def look(self, subject: Subject, waiter: Patient) -> None:
        """Try all that can be tried; without a name nothing is tried in the lock's directory."""
        config, name = subject.config, subject.name
        if config:
            self._file(subject.path, config)
        for fault in subject.faults:
            self.note("fault", "name" if config else "file", fault)
        if not config:
            return
        if name:
            self.note("ok", "name", f"{name}, from {subject.name_from}")
            if subject.name_from == "testparm" and is_hosts_own(name):
                self.note("warning", "name", f"{name} is this host's own name: see that smb.conf sets it on all nodes")
        directory = config.directory(name)
        try:
            seen, config = endpoint_health.endpoints(config, directory, waiter, self._log)
        except LockError as failure:
            self.note("fault", "endpoints", str(failure))
            return
        self._endpoints(seen)
        if not config.hosts:
            self.note("fault", "etcd", "no etcd endpoint can be used from here")
            return
        served = self._v2_served(config, seen)
        apis = apis_in_use(config, served)
        for api in apis:
            try:
                endpoints = Endpoints(config, waiter, self._log)
                client, lock = open_api(api, directory, endpoints)
            except Refused as refusal:
                self.note("fault", f"v{api}", str(refusal))
            else:
                to_confirm = endpoints if api == apis[0] else None
                _Trial(self, config, api, client, lock, to_confirm).run(directory if name else "")
        self._clocks(seen)

    def verdict(self) -> int:
        """The exit status, put into the report."""
        faults = dict.fromkeys(item["item"] for item in self.report["items"] if item["level"] == "fault")
        good = "this node can take the lock, or report that another node holds it"
        self.report["summary"] = f"this node cannot take part in the lock: {', '.join(faults)}" if faults else good
        self.report["exit"] = code = int(bool(faults))
        return code

    def _file(self, path: str, config: Config) -> None:
        there = os.path.exists(path)
        self.note("ok", "file", path if there else f"{path} is not there: all values are defaults")
        sambas = os.path.join(os.path.dirname(path), "etcd")
        if vars(config) == vars(parse(path, b"")) and os.path.exists(sambas):
            why = f"{sambas} is there, the file of Samba's helper, which this program does not read"
            self.note("warning", "file", f"{why}: copy its settings to {path}")
        for warning in config.warnings:
            self.note("warning", "file", warning)
        timeout = leader_timeout()
        if config.acquire_timeout + 0.5 > timeout:
            why = f"acquire_timeout = {config.acquire_timeout:g} leaves CTDB's leader timeout ({timeout:g} s)"
            self.note("warning", "file", f"{why} no half second: some releases of CTDB ban the node; lower it")

    def _endpoints(self, seen: list[dict[str, Any]]) -> None:
        for endpoint in seen:
            item = f"endpoint {endpoint['address']}"
            if endpoint["healthy"]:
                text = f"etcd {endpoint['version']}, {endpoint['latency'] * 1000:.1f} ms"
                text += ", leader" if endpoint["leader"] else ""
                self.note("ok", item, text + (f"; {endpoint['note']}" if endpoint["note"] else ""))
            else:
                # No fault of this node as long as the other endpoints work, which the next items show.
                alarms = f"alarm {' '.join(endpoint['alarms'])}" if endpoint["alarms"] else ""
                self.note("warning", item, " ".join(filter(None, (endpoint["error"], alarms))))

    def _v2_served(self, config: Config, seen: list[dict[str, Any]]) -> bool:
        """Whether v2 is served."""
        served = any(endpoint["v2"] for endpoint in seen)
        differ = endpoint_health.differ_in_v2(seen)
        if differ:
            self.note("warning", "v2", differ)
        if config.api == "auto" and not served:
            nothing = (os.strerror(errno.ECONNREFUSED), str(GrpcOnly()))
            silent = sum(endpoint["v2"] is None and endpoint["error"] not in nothing for endpoint in seen)
            if is_denied(sum(endpoint["v2"] is False for endpoint in seen), silent, len(seen)):
                self.note("ok", "v2", "not served by etcd: the lock is held in v3 alone")
            else:
                self.note("fault", "v2", f"{V2_UNKNOWN}: {V2_UNKNOWN_ADVICE}")
        return served

    def _clocks(self, seen: list[dict[str, Any]]) -> None:
        wrong = endpoint_health.wrong_clocks(seen)
        for endpoint in wrong:
            why = "set both clocks: certificates and the keys of the v2 API go by them, leases in v3 don't"
            self.note("warning", "clock", f"of {endpoint['address']}: {endpoint['clock_offset']:+g} s: {why}")
        if not wrong and any(endpoint["clock_offset"] is not None for endpoint in seen):
            self.note("ok", "clock", "those of etcd's members are as ours, to the second")


class _Trial:
    """What the lock needs in one API, tried in the order of the lock; the first fault ends it."""

    def __init__(
        self, check: Check, config: Config, api: str, client: Client, lock: ApiLock, to_confirm: Endpoints | None
    ) -> None:
        self._check = check
        self._config = config
        self._api = f"v{api}"
        self._client = client
        self._lock = lock
        self._to_confirm = to_confirm

    def run(self, directory: str) -> None:
        if not self._step(f"{self._api} lease", self._lease):
            return
        if directory and self._step(f"{self._api} read", lambda: self._read(directory)):
            self._step(f"{self._api} write", lambda: self._write(directory))

    def _step(self, item: str, attempt: Callable[[], object]) -> bool:
        try:
            attempt()
        except LockError as error:
            # The first call logs in.
            at_login = self._config.username and self._client.logged_in is False and isinstance(error, Refused)
            failed = "login" if at_login else item
            self._check.note("fault", failed, str(error))
            return False
        return True

    def _lease(self) -> None:
        """The safety rule's inequality, with what etcd grants and how long it takes."""
        config = self._config
        tried = self._lock.try_lease(time.monotonic() + _CALL, self._confirm)
        if tried is None:
            return
        self._login()
        ttl, took = tried
        one_try = max(took, min(config.read_timeout, LEAST_TRY))
        text = f"granted for {ttl:g} s, renewed in {took:.3f} s"
        rule = f"refresh {config.refresh:g} s and two tries ({config.refresh + 2 * one_try:.1f} s)"
        if not fits(ttl, config.refresh, one_try):
            raise Unavailable(f"{text}: {rule} do not fit into it: etcd is too slow, or set a longer lock_ttl")
        self._check.note("ok", f"{self._api} lease", f"{text}; {rule} fit into it")

    def _confirm(self) -> None:
        """Once, while there is a lease, if there are any."""
        if not self._to_confirm:
            return
        try:
            one_etcd.confirm(self._to_confirm, elsewhere, self._lock, time.monotonic() + _CALL)
        except LockError as error:
            self._check.note("fault", "cluster", str(error))
        else:
            self._check.note("ok", "cluster", "all endpoints that answer are of one etcd cluster")
        self._to_confirm = None

    def _login(self) -> None:
        user = self._config.username
        if user and self._client.logged_in:
            self._check.note("ok", "login", f"as {user}")
        elif user:
            self._check.note("warning", "login", f"username is {user}, but etcd's auth is not enabled")

    def _read(self, directory: str) -> None:
        keys, stale = self._lock.keys(time.monotonic() + _CALL, 1)
        if stale:
            raise Unavailable(stale)
        held = "somebody holds the lock: this node would answer 1" if keys else "the lock is free"
        self._check.note("ok", f"{self._api} read", f"{directory}: {held}")
        if self._client.logged_in is False and not self._config.username:
            self._check.note("ok", "login", "etcd requires none")
        self._confirm()

    def _write(self, directory: str) -> None:
        self._lock.try_write(time.monotonic() + _CALL)
        self._check.note("ok", f"{self._api} write", f"{directory}: etcd would let us; nothing was written")
