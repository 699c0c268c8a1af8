# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""--status: the state of the lock and of etcd as one dict, which --json prints as it is, and a verdict.

Looking writes nothing and takes about 10 seconds at most, whatever is down (20 if testparm hangs). The verdict is
that of a Nagios plugin: 0 held and all endpoints healthy; 1 free, or something needs attention; 2 etcd has a problem:
the lock cannot be taken or held; 3 unknown: the file, the name or the login is wrong, or no endpoint can be reached
from here, which says nothing about the other nodes.
"""

from __future__ import annotations

import time

from .. import __version__
from ..client.endpoints import Endpoints
from ..errors import LockError, Refused
from ..lock.open import apis_in_use, open_api
from . import endpoint_health, lock_keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..config.parse import Config
    from ..log import Log
    from ..waiting import Patient
    from .command import Subject

OK, WARNING, CRITICAL, UNKNOWN = range(4)


class Status:
    """One look at the lock; it fills `report`."""

    def __init__(self, path: str, log: Log) -> None:
        self.report: dict[str, Any] = {
            "format": 1,
            "program_version": __version__,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "exit": UNKNOWN,
            "state": "unknown",
            "summary": "",
            "problems": [],
            "file": path,
            "lock": None,
            "stale": False,
            "holder": None,
            "queue": [],
            "v2_served": None,
            "endpoints": [],
        }
        self._log = log
        self._problems: list[tuple[int, str]] = []
        self._read = False

    def problem(self, severity: int, text: str, first: bool = False) -> None:
        """Note a problem; `first` is one that others follow from."""
        self._problems.insert(0 if first else len(self._problems), (severity, text))

    def look(self, subject: Subject, waiter: Patient) -> None:
        """Ask etcd. Without a name only the endpoints are looked at."""
        for fault in subject.faults:
            self.problem(UNKNOWN, fault)
        config, name = subject.config, subject.name
        if not config:
            return
        directory = config.directory(name)
        if name:
            self.report["lock"] = {"name": name, "name_from": subject.name_from, "path": directory, "api": config.api}
        try:
            self.report["endpoints"], config = endpoint_health.endpoints(config, directory, waiter, self._log)
        except LockError as failure:
            self.problem(UNKNOWN, str(failure))
            return
        self._judge_endpoints()
        if name and config.hosts:
            self._look_at_keys(config, directory, waiter)

    def _judge_endpoints(self) -> None:
        seen = self.report["endpoints"]
        unhealthy = [endpoint for endpoint in seen if not endpoint["healthy"]]
        if not any(endpoint["reachable"] for endpoint in seen):
            self.problem(UNKNOWN, "no etcd endpoint can be used from here")
        for endpoint in unhealthy:
            if endpoint["alarms"]:
                # An alarm is the whole cluster's, whichever member reports it.
                why = f"alarm {' '.join(endpoint['alarms'])}: see etcd's documentation, Maintenance"
                self.problem(CRITICAL, f"{endpoint['address']}: {why}")
            if endpoint["error"]:
                severity = CRITICAL if 2 * len(unhealthy) > len(seen) else WARNING
                self.problem(severity, f"{endpoint['address']}: {endpoint['error']}")
        clusters = {endpoint["cluster_id"] for endpoint in seen} - {None}
        if len(clusters) > 1:
            why = "no node can take the lock until the endpoints are of one"
            self.problem(CRITICAL, f"the endpoints are of different etcd clusters: {why}", first=True)
        differ = endpoint_health.differ_in_v2(seen)
        if differ:
            self.problem(WARNING, differ)
        served = {endpoint["v2"] for endpoint in seen if endpoint["reachable"]}
        self.report["v2_served"] = True if True in served else False if served == {False} else None
        if self.report["v2_served"]:
            for endpoint in endpoint_health.wrong_clocks(seen):
                why = f"its clock differs from ours by {endpoint['clock_offset']:+g} s: keys of the v2 API"
                self.problem(WARNING, f"{endpoint['address']}: {why} end by the members' clocks")

    def _look_at_keys(self, config: Config, directory: str, waiter: Patient) -> None:
        now = time.time()
        found: list[list[dict[str, Any]]] = []
        try:
            for api in apis_in_use(config, self.report["v2_served"]):
                _, lock = open_api(api, directory, Endpoints(config, waiter, self._log))
                keys, stale = lock.keys(time.monotonic() + 2 * endpoint_health.ANSWER_TIME, lock_keys.MOST)
                found.append([lock_keys.describe(key, api, now) for key in keys])
                if stale:
                    self.report["stale"] = True
                    why = "the lock can neither be taken nor renewed, and what is shown may be old"
                    self.problem(CRITICAL, f"etcd commits nothing: {why}", first=True)
                    break
            self._read = True
        except LockError as failure:
            self.problem(UNKNOWN if isinstance(failure, Refused) else CRITICAL, str(failure), first=True)
        self._name_holder(found)

    def _name_holder(self, found: list[list[dict[str, Any]]]) -> None:
        """Who holds: the first key of the first API, and those of the others that are of the same process."""
        found = [keys for keys in found if keys]
        if not found:
            return
        holder = found[0][0]
        written = holder.get("written")  # only what this program wrote has it
        same = [keys[0] for keys in found if keys[0] is holder or written and keys[0].get("written") == written]
        holder["apis"] = [api for key in same for api in key["apis"]]
        queue = [key for keys in found for key in keys if not any(key is one for one in same)]
        for key in [holder, *queue]:
            key.pop("written", None)
        self.report["holder"] = holder
        self.report["queue"] = queue
        in_v3 = f"{who(holder)} holds the lock in v3 only"
        why = "its helper has api = 3, or took the lock before etcd served v2"
        if holder["kind"] in ("etcdctl", "unknown"):
            what = "etcdctl, or a program like it," if holder["kind"] == "etcdctl" else "something unknown"
            self.problem(WARNING, f"{what} holds the lock: CTDB can have no leader until {holder['key']} is gone")
        elif len(same) < len(found):
            # Normal for a moment while the lock is taken; for longer only if something is wrong.
            self.problem(WARNING, f"{in_v3}, another holder has v2: {why}")
        elif holder["kind"] == "ctdb-etcd" and holder["apis"] == ["3"] and self.report["v2_served"]:
            self.problem(WARNING, f"{in_v3}: {why}: a node with Samba's helper could too")

    def verdict(self) -> int:
        """Put summary and exit status into the report, once everything was looked at; return the exit status."""
        report = self.report
        seen = report["endpoints"]
        free = self._read and not report["holder"]
        lock = report["lock"]["path"] if report["lock"] else "the lock"
        if free:
            self.problem(WARNING, f"{lock} is free")
        severity = max((severity for severity, _ in self._problems), default=OK)
        report["exit"] = severity
        report["state"] = {CRITICAL: "trouble", UNKNOWN: "unknown"}.get(severity, "free" if free else "held")
        # The worst comes first.
        report["problems"] = [text for _, text in sorted(self._problems, key=lambda problem: -problem[0])]
        healthy = f"{sum(endpoint['healthy'] for endpoint in seen)} of {len(seen)} endpoints healthy"
        if severity < CRITICAL and not free:
            worst = f"; {report['problems'][0]}" if severity else ""
            report["summary"] = f"{lock} is held by {who(report['holder'])}, {healthy}{worst}"
        else:
            what = report["problems"][0] if severity >= CRITICAL else f"{lock} is free"
            report["summary"] = f"{what}; {healthy}" if seen else what
        return severity


def who(key: dict[str, Any]) -> str:
    """A key's owner in a few words."""
    if key["kind"] == "ctdb-etcd":
        return f"node {key['node']} (pnn {'unknown' if key['pnn'] is None else key['pnn']}, pid {key['pid']})"
    if key["kind"] == "samba":
        return f"Samba's helper on the node with pnn {key['pnn']}"
    if key["kind"] == "etcdctl":
        return f"etcdctl or a program like it (lease {key['lease']})"
    return f"something unknown, which wrote {key['value']!r}"
