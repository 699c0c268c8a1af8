# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The measured peers: our helper in several configurations, Samba's, CTDB's own for a shared file, and `etcdctl lock`.

Each helper on etcd gets the cluster's name from testparm, except V3_NAMED, and the node's number from a stand-in for
the ctdb command.
"""

from __future__ import annotations

import fcntl
import http.client
import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional
from urllib.parse import quote

from tests.support import release
from tests.support.helper import Helper
from tests.support.samba import Samba

SAMBAS = "Samba's helper"
FCNTL = "fcntl helper"
ETCDCTL = "etcdctl lock"
V3 = "v3"
V3_NAMED = "v3, netbios_name set"
DEFAULTS = "auto, v2 not served"
BOTH = "auto, v2 served"
V2 = "v2"

FCNTL_PROGRAM = "/usr/libexec/ctdb/ctdb_mutex_fcntl_helper"


@dataclass
class Peer:
    """`start(**options of Helper)` runs it once. `keys()` returns the held locks of its name, one for each API.

    `take_away()` takes the lock from its holder, as an administrator could by mistake.
    """

    name: str
    start: Callable[..., Helper]
    keys: Callable[[], list[str]]
    take_away: Callable[[], object]
    clean: Callable[[], object]
    contends: bool = True  # False: it waits for the lock

    def __str__(self) -> str:
        return self.name


class View:
    """A view of one etcd over a persistent connection, which is fast enough to see when a key goes."""

    def __init__(self, endpoint: str) -> None:
        self._connection = http.client.HTTPConnection(endpoint, timeout=5)

    def ask(self, method: str, path: str, body: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """Send a request and return the object in the answer."""
        self._connection.request(method, path, json.dumps(body) if body is not None else None)
        answer: dict[str, Any] = json.loads(self._connection.getresponse().read())
        return answer

    def v3(self, directory: str) -> list[str]:
        """Return the oldest key below the directory."""
        body = {**_below(directory), "limit": 1, "sort_order": "ASCEND", "sort_target": "CREATE"}
        answer = self.ask("POST", "/v3/kv/range", body)
        return [key["key"] for key in answer.get("kvs", [])]

    def delete_v3(self, directory: str) -> None:
        """Delete all keys below the directory."""
        self.ask("POST", "/v3/kv/deleterange", _below(directory))

    def v2(self, directory: str) -> list[str]:
        """Return the lowest key in the directory."""
        node = self.ask("GET", f"/v2/keys{quote(directory.rstrip('/'))}?sorted=true").get("node", {})
        return [key["key"] for key in node.get("nodes", [])][:1]

    def clean_v2(self, directory: str) -> None:
        """Delete the directory: Samba's helper leaves keys there."""
        self.ask("DELETE", f"/v2/keys{quote(directory.rstrip('/'))}?recursive=true")


def _below(directory: str) -> dict[str, Any]:
    ends = {"key": directory, "range_end": directory[:-1] + "0"}
    return {name: b64encode(key.encode()).decode() for name, key in ends.items()}


class Peers:
    """Creates the peers, for an etcd at `endpoint` that serves v2 if it can, and one at `plain` that does not."""

    def __init__(self, scratch: Path, endpoint: str, plain: str) -> None:
        self._scratch = scratch
        self._endpoint = endpoint
        self._plain = plain
        self._view, self._plain_view = View(endpoint), View(plain)

    def all(self, via: Callable[[str], str] = lambda endpoint: endpoint) -> list[Peer]:
        """Return all peers. `via` maps an etcd endpoint to the endpoint that a peer uses to reach it."""
        peers = [
            self.ours(V3, via(self._endpoint), api="3"),
            self.ours(V3_NAMED, via(self._endpoint), api="3", netbios_name="V3NETBIOSNAMESET"),
            self.ours(DEFAULTS, via(self._plain)),
        ]
        if release.serves_v2():
            peers.append(self.ours(BOTH, via(self._endpoint)))
            peers.append(self.ours(V2, via(self._endpoint), api="2"))
            peers.append(self.sambas(via(self._endpoint)))
        return [*peers, self.fcntl(), self.etcdctl(via(self._plain))]

    def ours(self, name: str, endpoint: str, **keys: object) -> Peer:
        """Return the program under test, in its own cluster."""
        cluster = "".join(filter(str.isalnum, name)).upper()
        env = self._surroundings(cluster).env
        host, _, port = endpoint.partition(":")
        conf = self._scratch / f"{cluster}.conf"
        lines = [f"{key} = {value}\n" for key, value in [("host", host), ("port", port), *keys.items()]]
        conf.write_text("".join(lines))
        directory = f"/_locks/_ctdb/{cluster}/"
        view = self._plain_view if name == DEFAULTS else self._view

        def held() -> list[str]:
            in_v3 = view.v3(directory) if name != V2 else []
            return in_v3 + (view.v2(directory) if name in (V2, BOTH) else [])

        delete = view.clean_v2 if name == V2 else view.delete_v3
        start = lambda **options: Helper(conf, env=env, **options)  # noqa: E731
        return Peer(name, start, held, lambda: delete(directory), lambda: None)

    def sambas(self, endpoint: str) -> Peer:
        """Return Samba's own etcd helper."""
        samba = self._surroundings("SAMBAS", endpoint)
        directory = "/_locks/_ctdb/SAMBAS/"
        clean = lambda: self._view.clean_v2(directory)  # noqa: E731
        return Peer(SAMBAS, samba.helper, lambda: self._view.v2(directory), clean, clean)

    def fcntl(self) -> Peer:
        """Return CTDB's helper for a lock file that all nodes share; here the file is local."""
        path = self._scratch / "lock"

        def held() -> list[str]:
            with path.open("w") as file:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
                    return []
                except OSError:
                    return [str(path)]

        start = lambda **options: Helper(None, str(path), program=FCNTL_PROGRAM, **options)  # noqa: E731

        def take_away() -> None:
            path.with_name("other").touch()
            path.with_name("other").rename(path)

        return Peer(FCNTL, start, held, take_away, lambda: None)

    def etcdctl(self, endpoint: str) -> Peer:
        """Return etcd's own command. It is written in Go, uses gRPC, and does not report contention."""
        path = "/_locks/_ctdb/ETCDCTL"
        arguments = ["--endpoints", endpoint, "lock", path]

        def start(**options: Any) -> Helper:
            return Helper(None, *arguments, program="etcdctl", env={"ETCDCTL_API": "3"}, **options)

        view, keys = self._plain_view, f"{path}/"
        return Peer(ETCDCTL, start, lambda: view.v3(keys), lambda: view.delete_v3(keys), lambda: None, contends=False)

    def _surroundings(self, cluster: str, endpoint: str = "127.0.0.1:1") -> Samba:
        """Create an smb.conf with the cluster's name, and the stand-in for ctdb."""
        directory = self._scratch / f"smb.{cluster}.{len(list(self._scratch.iterdir()))}"
        directory.mkdir()
        return Samba(directory, cluster, endpoint)
