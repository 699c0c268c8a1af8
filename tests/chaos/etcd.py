# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Three etcd members, each on its own host, and the run's own requests to them (on a path that no fault touches)."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

from tests.support import release
from tests.support.etcd import NO_KEY
from tests.support.machine import wait_until
from tests.support.member import Member

from .network import Network
from .watch_v2 import DIRECTORY

PREFIX = "/_locks/"


class StormyEtcd:
    """The cluster. Requests to it have short timeouts and tolerate a missing answer."""

    def __init__(self, network: Network, members: int, v2: bool) -> None:
        self.v2 = v2
        # Quick elections, so that etcd grants short leases.
        flags = ["--heartbeat-interval=60", "--election-timeout=600", *(release.v2_flags() if v2 else [])]
        self.members: list[Member] = []
        for name in (f"etcd{n + 1}" for n in range(members)):
            self.members.append(_member(network, name, self._cluster, flags))

    def _cluster(self) -> str:
        return ",".join(f"{member.name}={member.peer_url}" for member in self.members)

    def start(self) -> None:
        for member in self.members:
            member.start()
        wait_until(lambda: self.post("kv/range", {"key": "eA=="}), "etcd", pause=0.1)

    def post(self, path: str, body: dict[str, Any], member: Optional[Member] = None) -> Optional[dict[str, Any]]:
        """Return the first answer without an error, of any member or of this one; None if there is none."""
        for asked in [member] if member else self.members:
            answer = asked.post(path, body, 0.5)
            if answer is not None:
                return answer
        return None

    def leader(self) -> Optional[Member]:
        return next((member for member in self.members if member.is_leader(0.3)), None)

    def keys(self) -> Optional[list[dict[str, Any]]]:
        """Return the keys of all locks: key, lease (0: none). None without an answer."""
        answer = self.post("kv/range", {"key": _base64(PREFIX), "range_end": _base64(PREFIX[:-1] + "0")})
        if answer is None:
            return None
        return [{"key": _text(kv["key"]), "lease": int(kv.get("lease", 0))} for kv in answer.get("kvs", [])]

    def left(self) -> Optional[list[str]]:
        """Return each key and lease that exists, in both stores. None without an answer."""
        keys, leases = self.keys(), self.post("lease/leases", {})
        v2_keys = self._v2_keys() if self.v2 else []
        if keys is None or leases is None or v2_keys is None:
            return None
        names = [*(str(key["key"]) for key in keys), *v2_keys]
        return [f"key {name}" for name in names] + [f"lease {int(i['ID']):x}" for i in leases.get("leases", [])]

    def _v2_keys(self) -> Optional[list[str]]:
        for member in self.members:
            answer = member.request("GET", f"/v2/keys{DIRECTORY}?quorum=true", 0.5)
            if "node" in answer:
                return [f"v2:{node['key']}" for node in answer["node"].get("nodes", [])]
            if answer.get("errorCode") == NO_KEY:
                return []
        return None

    def silence(self, member_id: str) -> None:
        """Clear that member's alarm, if a member is reachable that can commit."""
        self.post("maintenance/alarm", {"action": "DEACTIVATE", "memberID": member_id, "alarm": "NOSPACE"})

    def silence_all(self) -> Optional[bool]:
        """Clear every member's alarm; return whether there was one, None without an answer.

        An alarm survives restarts. One raised without an answer may take effect seconds after the network has healed.
        """
        answer = self.post("maintenance/alarm", {"action": "GET"})
        alarms = (answer or {}).get("alarms", [])
        for alarm in alarms:
            self.silence(alarm["memberID"])
        return None if answer is None else bool(alarms)

    def delete(self, key: str) -> bool:
        return bool((self.post("kv/deleterange", {"key": _base64(key)}) or {}).get("deleted"))

    def overwrite(self, key: str, value: str) -> bool:
        """Replace the value of an existing key, and keep its lease."""
        return self.post("kv/put", {"key": _base64(key), "value": _base64(value), "ignore_lease": True}) is not None

    def revoke(self, lease: int) -> bool:
        return self.post("lease/revoke", {"ID": lease}) is not None


def stray(network: Network) -> Member:
    """Start a separate etcd that is not part of the cluster."""
    member = _member(network, "stray", lambda: f"{member.name}={member.peer_url}", [])
    member.start()
    wait_until(lambda: member.post("kv/range", {"key": "eA=="}, 0.5), "an etcd by itself", pause=0.1)
    return member


def _member(network: Network, name: str, cluster: Callable[[], str], flags: list[str]) -> Member:
    network.add(name)
    client, peer = (f"{network.address(name)}:{port}" for port in (2379, 2380))
    return Member(name, Path("/run"), client, peer, cluster, flags, enter=Network.enter(name))


class Watch:
    """The changes of the locks' keys that one member reports, in order from a revision on; in the v2 or v3 store."""

    def __init__(self, member: Member, v2: bool, revision: int) -> None:
        self.member, self.v2 = member, v2
        argv = [sys.executable, "-m", "tests.chaos.watch_v2", member.endpoint.split(":")[0], str(revision)]
        if not v2:
            argv = ["etcdctl", "--endpoints", member.endpoint, "watch", "--prefix", PREFIX, "-w", "json"]
            argv.append(f"--rev={revision}")
        env = {**os.environ, "ETCDCTL_API": "3"}
        self._process = subprocess.Popen(argv, env=env, stdin=-3, stdout=subprocess.PIPE, stderr=-3)
        assert self._process.stdout
        self.fd = self._process.stdout.fileno()
        self._rest = b""

    def read(self) -> Optional[Iterator[tuple[int, str, bool, str]]]:
        """Return revision, key, put or removed, and value of each new change; None at the end of the watch."""
        data = os.read(self.fd, 1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return self._changes(lines)

    def _changes(self, lines: list[bytes]) -> Iterator[tuple[int, str, bool, str]]:
        for line in lines:
            for event in json.loads(line).get("Events") or []:
                kv = event["kv"]
                put = event.get("type", 0) == 0
                if put and kv["mod_revision"] != kv.get("create_revision", kv["mod_revision"]):
                    continue  # a new value for an existing key
                yield kv["mod_revision"], _text(kv["key"]), put, _text(kv.get("value", ""))

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdout
        self._process.stdout.close()


def last_words() -> str:
    """Return the end of every member's log."""
    return "".join(f"{log.name}: {log.read_text(errors='replace')[-500:]}\n" for log in Path("/run").glob("etcd*.log"))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(data: str) -> str:
    return base64.b64decode(data).decode(errors="replace")
