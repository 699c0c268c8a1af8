# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The state of the lock and of etcd as one dict, which --json prints as it is, and what to think of it.

Looking writes nothing and is over in about 10 seconds, whatever is down (20 if testparm hangs). The verdict is
that of a Nagios plugin: 0 held and all endpoints healthy; 1 free, or something that wants attention; 2 etcd is in
trouble: the lock cannot be taken or held; 3 nothing can be said: the file, the name or the login is wrong, or no
endpoint can be reached from here, which says nothing about the other nodes.
"""

from __future__ import annotations

import time

from . import __version__, holders, observe
from .endpoints import Endpoints
from .failover import reason
from .gateway import Gateway
from .lock import LockError, Refused, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .config import Config
    from .log import Log
    from .observe import Patience

OK, WARNING, CRITICAL, UNKNOWN = range(4)

# v2's keys end by the members' wall clocks: seconds by which one may differ without a word about it.
_CLOCK = 1.5


def blank(path: str) -> dict[str, Any]:
    """A report that says nothing yet; `path` is the configuration file's."""
    return {
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


class Status:
    """One look; `report` fills while it goes on."""

    def __init__(self, path: str, log: Log) -> None:
        self.report = blank(path)
        self._log = log
        self._problems: list[tuple[int, str]] = []
        self._read = False

    def problem(self, severity: int, text: str, first: bool = False) -> None:
        """Note what is wrong; `first` is what others like it follow from."""
        self._problems.insert(0 if first else len(self._problems), (severity, self._log.clean(text)))

    def look(self, config: Config, name: str, name_from: str, waiter: Patience) -> None:
        """Ask etcd. `name` is empty if it is not known: then only the endpoints are looked at."""
        directory = f"{config.lock_prefix}/{config.locks_dir}/{name}/"
        if name:
            self.report["lock"] = {"name": name, "name_from": name_from, "path": directory, "api": config.api}
        try:
            self.report["endpoints"] = observe.endpoints(config, directory, waiter, self._log)
        except OSError as error:
            self.problem(UNKNOWN, f"DNS does not name the endpoints of {config.srv_domain}: {reason(error)}")
            return
        except Refused as refusal:
            self.problem(UNKNOWN, str(refusal))
            return
        self._judge_endpoints()
        reachable = [endpoint["address"] for endpoint in self.report["endpoints"] if endpoint["reachable"]]
        if name and reachable:
            self._look_at_keys(observe.answering(config, self.report["endpoints"]), directory, waiter)

    def _judge_endpoints(self) -> None:
        seen = self.report["endpoints"]
        ill = [endpoint for endpoint in seen if not endpoint["healthy"]]
        if not any(endpoint["reachable"] for endpoint in seen):
            self.problem(UNKNOWN, "no endpoint of etcd can be used from here")
        for endpoint in ill:
            if endpoint["alarms"]:
                # Of the whole cluster, whoever tells it.
                why = f"alarm {' '.join(endpoint['alarms'])}: see etcd's documentation, Maintenance"
                self.problem(CRITICAL, f"{endpoint['address']}: {why}")
            if endpoint["error"]:
                severity = CRITICAL if 2 * len(ill) > len(seen) else WARNING
                self.problem(severity, f"{endpoint['address']}: {endpoint['error']}")
        served = {endpoint["v2"] for endpoint in seen if endpoint["reachable"]}
        self.report["v2_served"] = True if True in served else False if served == {False} else None
        if self.report["v2_served"]:
            for endpoint in seen:
                if abs(endpoint["clock_offset"] or 0) > _CLOCK:
                    why = f"its clock differs from ours by {endpoint['clock_offset']:+g} s: keys of the v2 API"
                    self.problem(WARNING, f"{endpoint['address']}: {why} end by the members' clocks")

    def _look_at_keys(self, config: Config, directory: str, waiter: Patience) -> None:
        now = time.time()
        v3: list[dict[str, Any]] = []
        v2: list[dict[str, Any]] = []
        try:
            if config.api != "2":
                found = holders.in_v3(
                    Gateway(config, Endpoints(config, waiter, self._log), waiter, self._log), directory, now
                )
                v3 = found["keys"]
                self.report["stale"] = found["stale"]
                if found["stale"]:
                    why = (
                        "etcd commits nothing: the lock can neither be taken nor renewed, and what is shown may be old"
                    )
                    self.problem(CRITICAL, why, first=True)
            if config.api == "2" or (config.api == "auto" and self.report["v2_served"] and not self.report["stale"]):
                v2 = holders.in_v2(config, directory, waiter, self._log, now)
            self._read = True
        except Unavailable as failure:
            self.problem(CRITICAL, str(failure), first=True)
        except Refused as refusal:
            self.problem(UNKNOWN, str(refusal), first=True)
        except (LockError, KeyError, TypeError, ValueError) as error:
            self.problem(CRITICAL, f"etcd's answer makes no sense: {type(error).__name__}")
        self._name_holder(v3, v2)

    def _name_holder(self, v3: list[dict[str, Any]], v2: list[dict[str, Any]]) -> None:
        """Who holds: the first key in v3, and in v2 for a lock that is held in both."""
        keys = v3 + v2
        if not keys:
            return
        holder = keys[0]
        holder["apis"] = [holder["api"]]
        rest = keys[1:]
        if v3 and v2 and _same(holder, v2[0]):
            holder["apis"].append("2")
            rest.remove(v2[0])
        for key in keys:
            key.pop("api")
            key.pop("nonce", None)
        self.report["holder"] = {**holder}
        self.report["queue"] = [{**key, "apis": ["3" if key in v3 else "2"]} for key in rest]
        if holder["kind"] in ("etcdctl", "unknown"):
            what = "etcdctl, or a program like it," if holder["kind"] == "etcdctl" else "something unknown"
            self.problem(WARNING, f"{what} holds the lock: CTDB can have no leader until {holder['key']} is gone")
        elif v3 and v2 and holder["apis"] == ["3"]:
            # For a moment at every taking; for longer only if something is wrong.
            self.problem(WARNING, "v2 has another holder: perhaps a node with api = 3 beside one of Samba's helpers")

    def verdict(self) -> int:
        """The exit status, put into the report with the summary, once all was looked at."""
        report = self.report
        seen = report["endpoints"]
        free = self._read and not report["holder"]
        lock = report["lock"]["path"] if report["lock"] else "the lock"
        if free:
            self.problem(WARNING, f"{lock} is free: nobody holds it")
        severity = max((severity for severity, _ in self._problems), default=OK if self._read else UNKNOWN)
        report["exit"] = severity
        report["state"] = {CRITICAL: "trouble", UNKNOWN: "unknown"}.get(severity, "free" if free else "held")
        # What decides comes first.
        report["problems"] = [text for _, text in sorted(self._problems, key=lambda problem: -problem[0])]
        healthy = f"{sum(endpoint['healthy'] for endpoint in seen)} of {len(seen)} endpoints healthy" if seen else ""
        if severity >= CRITICAL:
            said = report["problems"][0]
        elif free:
            said = f"{lock} is free"
        else:
            said = f"{lock} is held by {who(report['holder'])}" + (f", {healthy}" if healthy else "")
            said += f"; {report['problems'][0]}" if severity and report["problems"] else ""
        report["summary"] = said + (f"; {healthy}" if healthy and not said.count(healthy) else "")
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


def _same(key: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(key["kind"] == other["kind"] == "ctdb-etcd" and key["nonce"] == other["nonce"])
