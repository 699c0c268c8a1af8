# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Three etcd members, each at its own host, and what the run asks of them (by a way that no fault touches)."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, Optional

from tests.support import release
from tests.support.machine import wait_until

from .network import Network
from .watch_v2 import DIRECTORY

PREFIX = "/_locks/"


class Member:
    """One etcd; its host bears its name."""

    def __init__(self, cluster: Etcd, name: str) -> None:
        self._cluster = cluster
        self.name = name
        self._process: Optional[subprocess.Popen[bytes]] = None

    @property
    def address(self) -> str:
        return self._cluster.network.address(self.name)

    def start(self) -> None:
        client, peer = f"http://{self.address}:2379", f"http://{self.address}:2380"
        argv = [*Network.enter(self.name), release.program(), "--name", self.name, "--data-dir", f"/run/{self.name}"]
        argv += ["--listen-client-urls", client, "--advertise-client-urls", client, "--log-level", "error"]
        argv += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        peers = (f"{member.name}=http://{member.address}:2380" for member in self._cluster.members)
        # Quick elections, so that etcd grants short leases.
        argv += ["--initial-cluster", ",".join(peers), "--heartbeat-interval=60", "--election-timeout=600"]
        with open(f"/run/{self.name}.log", "ab") as log:
            self._process = subprocess.Popen([*argv, *self._cluster.flags], stdout=log, stderr=log)

    def kill(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait(10)

    def pause(self) -> None:
        assert self._process
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process
        os.kill(self._process.pid, signal.SIGCONT)

    def post(self, path: str, body: dict[str, Any], timeout: float = 0.5) -> Optional[dict[str, Any]]:
        """The JSON answer of its gateway; None if there is none in time, or it is an error."""
        answer = self.ask("POST", f"/v3/{path}", json.dumps(body), timeout)
        return answer if answer is not None and not answer.get("error") else None

    def ask(self, method: str, path: str, body: Optional[str], timeout: float) -> Optional[dict[str, Any]]:
        connection = http.client.HTTPConnection(self.address, 2379, timeout=timeout)
        try:
            connection.request(method, path, body)
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        return answer if isinstance(answer, dict) else None

    def member_id(self) -> Optional[str]:
        return _id(self.post("maintenance/status", {}, 0.3))

    def is_leader(self) -> bool:
        status = self.post("maintenance/status", {}, 0.3)
        return status is not None and status.get("leader") == _id(status)


class Etcd:
    """The cluster."""

    def __init__(self, network: Network, members: int, v2: bool) -> None:
        self.network = network
        self.flags = release.v2_flags() if v2 else []
        self.v2 = v2
        self.members = [Member(self, f"etcd{n + 1}") for n in range(members)]

    def start(self) -> None:
        for member in self.members:
            self.network.add(member.name)
        for member in self.members:
            member.start()
        wait_until(lambda: self.post("kv/range", {"key": "eA=="}), 20, "etcd", 0.1)

    def post(self, path: str, body: dict[str, Any]) -> Optional[dict[str, Any]]:
        """The first member's answer that is one; None if there is none."""
        answers = (member.post(path, body) for member in self.members)
        return next((answer for answer in answers if answer is not None), None)

    def leader(self) -> Optional[Member]:
        return next((member for member in self.members if member.is_leader()), None)

    def keys(self) -> list[dict[str, Any]]:
        """The keys of all locks: key, lease (0: none)."""
        answer = self.post("kv/range", {"key": _base64(PREFIX), "range_end": _base64(PREFIX[:-1] + "0")})
        return [{"key": _text(kv["key"]), "lease": int(kv.get("lease", 0))} for kv in (answer or {}).get("kvs", [])]

    def v2_keys(self) -> list[str]:
        """Those of the lock in the v2 store."""
        for member in self.members:
            answer = member.ask("GET", f"/v2/keys{DIRECTORY}?quorum=true", None, 0.5)
            if answer and "node" in answer:
                return [f"v2:{node['key']}" for node in answer["node"].get("nodes", [])]
        return []

    def leases(self) -> list[int]:
        return [int(lease["ID"]) for lease in (self.post("lease/leases", {}) or {}).get("leases", [])]

    def silence(self, member_id: str) -> None:
        """End that member's alarm, if a member can be reached that can commit."""
        self.post("maintenance/alarm", {"action": "DEACTIVATE", "memberID": member_id, "alarm": "NOSPACE"})

    def wait_silent(self, timeout: float) -> None:
        """Until no alarm is left: one that was raised without an answer may come about late, and outlives restarts."""

        def silent() -> bool:
            answer = self.post("maintenance/alarm", {"action": "GET"})
            for alarm in (answer or {}).get("alarms", []):
                self.silence(alarm["memberID"])
            return answer is not None and not answer.get("alarms")

        wait_until(silent, timeout, "the end of etcd's alarms", 0.05)

    def delete(self, key: str) -> bool:
        return bool((self.post("kv/deleterange", {"key": _base64(key)}) or {}).get("deleted"))

    def revoke(self, lease: int) -> bool:
        return self.post("lease/revoke", {"ID": lease}) is not None


class Watch:
    """All changes of the locks' keys that one member tells of, from a revision on, in order; of v2's store or v3's."""

    def __init__(self, member: Member, v2: bool, revision: int) -> None:
        self.member, self.v2 = member, v2
        argv = [sys.executable, "-m", "tests.chaos.watch_v2", member.address, str(revision)]
        if not v2:
            argv = ["etcdctl", "--endpoints", f"{member.address}:2379", "watch", "--prefix", PREFIX, "-w", "json"]
            argv.append(f"--rev={revision}")
        env = {**os.environ, "ETCDCTL_API": "3"}
        self._process = subprocess.Popen(argv, env=env, stdin=-3, stdout=subprocess.PIPE, stderr=-3)
        assert self._process.stdout
        self.fd = self._process.stdout.fileno()
        self._rest = b""

    def read(self) -> Optional[Iterator[tuple[int, str, bool, str]]]:
        """Revision, key, put or removed, and value of each change that has come; None at its end."""
        data = os.read(self.fd, 1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return self._changes(lines)

    def _changes(self, lines: list[bytes]) -> Iterator[tuple[int, str, bool, str]]:
        for line in lines:
            for event in json.loads(line).get("Events") or []:
                kv = event["kv"]
                yield kv["mod_revision"], _text(kv["key"]), event.get("type", 0) == 0, _text(kv.get("value", ""))

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdout
        self._process.stdout.close()


def last_words() -> str:
    """The end of every member's log."""
    return "".join(f"{log.name}: {log.read_text(errors='replace')[-500:]}\n" for log in Path("/run").glob("etcd*.log"))


def _id(answer: Optional[dict[str, Any]]) -> Optional[str]:
    own: Optional[str] = (answer or {}).get("header", {}).get("member_id")
    return own


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(data: str) -> str:
    return base64.b64decode(data).decode(errors="replace")
