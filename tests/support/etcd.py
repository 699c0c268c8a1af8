# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A real etcd cluster, and the tests' own view of its contents.

The tests read keys and leases of the v3 API by etcdctl, over gRPC, not by the JSON gateway that the program under test
uses.  They ask only members that run.  Every command is bounded in time, and a failure shows etcdctl's own message.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import time
from typing import Any, Optional, Sequence

from . import release
from .machine import ENOUGH, PDEATHSIG, Port, Scratch, wait_until
from .member import Member, Tls
from .process import Watched

NO_KEY = 100  # v2's errorCode


class LockProcess(Watched):
    """An `etcdctl lock PATH` process: another client that waits for the lock or holds it."""

    def wait_acquired(self, timeout: float = ENOUGH) -> str:
        """Wait until it holds the lock; return its key."""
        return self.wait_output(timeout).decode().strip()

    @property
    def acquired(self) -> bool:
        """Whether it holds (or has held) the lock."""
        return bool(self.output)

    def release(self, timeout: float = ENOUGH) -> None:
        """Interrupt etcdctl, which releases the lock, and wait until it exits."""
        self.signal(signal.SIGINT)
        self.wait_exit(timeout)


class Etcd:
    """A cluster of `members` (1 or 3) etcd processes; `start()` and `stop()`, or a context manager.

    Every member gets `extra_args`.  `program` replaces the etcd that release.py chooses.  With `split_http` the client
    port serves gRPC only, and HTTP has its own port (listen-client-http-urls).  If `user` ("name:password") is set,
    etcdctl logs in with it.
    """

    def __init__(
        self,
        members: int = 1,
        extra_args: Sequence[str] = (),
        tls: Optional[Tls] = None,
        program: Optional[str] = None,
        split_http: bool = False,
    ) -> None:
        self.size = members
        self.extra_args = list(extra_args)
        self.tls = tls
        self._program = program
        self._split_http = split_http
        self.user: Optional[str] = None
        self.members: list[Member] = []
        self._ports: list[Port] = []
        self._scratch: Optional[Scratch] = None

    def start(self) -> Etcd:
        """Start all members and wait until all are healthy."""
        self._scratch = Scratch()
        try:
            for number in range(self.size):
                client, peer = Port(), Port()
                self._ports += [client, peer]
                place = f"m{number + 1}", self._scratch.path, client.endpoint, peer.endpoint
                member = Member(*place, self._initial_cluster, self.extra_args, self.tls)
                member.program = self._program or member.program
                if self._split_http:
                    self._ports.append(Port())
                    member.http_endpoint = self._ports[-1].endpoint
                self.members.append(member)
            for member in self.members:
                member.start()
            self.wait_healthy()
        except BaseException:
            self.stop()
            raise
        return self

    def _initial_cluster(self) -> str:
        return ",".join(f"{member.name}={member.peer_url}" for member in self.members)

    def stop(self) -> None:
        """Kill all members and remove their data."""
        for member in self.members:
            member.kill()
        for port in self._ports:
            port.close()
        self.members.clear()
        self._ports.clear()
        if self._scratch:
            self._scratch.close()
            self._scratch = None

    def __enter__(self) -> Etcd:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoints(self) -> list[str]:
        """`host:port` of every member."""
        return [member.endpoint for member in self.members]

    @property
    def running(self) -> list[Member]:
        """The members that are neither killed nor paused."""
        return [member for member in self.members if member.running]

    def wait_healthy(self, timeout: float = ENOUGH) -> None:
        """Wait until every running member can commit."""
        try:
            wait_until(lambda: all(member.healthy() for member in self.running), "a healthy etcd", timeout, pause=0.05)
        except AssertionError as error:
            logs = "\n".join(f"{member.name}: {member.log()}" for member in self.members)
            raise AssertionError(f"{error}\n{logs}") from None

    def heal(self) -> None:
        """Resume paused members, restart dead ones, and wait until all are healthy."""
        for member in self.members:
            member.heal()
        self.wait_healthy()

    def leader(self, timeout: float = ENOUGH) -> Member:
        """Return the leader on which all running members agree; wait for the end of an election."""

        def agreed() -> Optional[Member]:
            ids = {member: member.ids() for member in self.running}
            leaders = {leader for _, leader in ids.values()}
            return next((member for member, (own, _) in ids.items() if own and leaders == {own}), None)

        member = wait_until(agreed, "a leader of etcd", timeout, pause=0.05)
        assert member
        return member

    def _etcdctl(self, *args: str, endpoint: str = "") -> tuple[list[str], dict[str, str]]:
        """Return command line and environment of etcdctl."""
        argv = [
            "etcdctl",
            "--endpoints",
            endpoint or ",".join(member.endpoint for member in self.running),
            "--dial-timeout=5s",
            "--command-timeout=20s",
        ]
        if self.tls:
            argv += [
                "--insecure-transport=false",
                "--cacert",
                self.tls.ca,
                "--cert",
                self.tls.cert,
                "--key",
                self.tls.key,
            ]
        if self.user:
            argv += ["--user", self.user]
        return [*argv, *args], {"PATH": os.environ["PATH"], "ETCDCTL_API": "3"}

    def etcdctl(self, *args: str, endpoint: str = "", timeout: float = ENOUGH) -> str:
        """Run etcdctl on the running members, or on this endpoint; return its stdout."""
        argv, env = self._etcdctl(*args, endpoint=endpoint)
        done = subprocess.run(
            [*PDEATHSIG, *argv],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f'{" ".join(argv)}: {done.stderr.strip()}'
        return done.stdout

    def _json(self, *args: str) -> dict[str, Any]:
        answer = json.loads(self.etcdctl(*args, "-w", "json"))
        assert isinstance(answer, dict)
        return answer

    def keys(self, prefix: str) -> list[dict[str, Any]]:
        """Return the keys below `prefix`, oldest first: key, value, create_revision, mod_revision, lease (0: none)."""

        def text(data: str) -> str:
            return base64.b64decode(data).decode(errors="replace")

        return [
            {
                "key": text(kv["key"]),
                "value": text(kv.get("value", "")),
                "create_revision": kv["create_revision"],
                "mod_revision": kv["mod_revision"],
                "lease": kv.get("lease", 0),
            }
            for kv in self._json("get", "--prefix", prefix, "--sort-by=CREATE").get("kvs", [])
        ]

    def wait_gone(self, directory: str, timeout: float) -> float:
        """Wait until nothing is left below a directory in either API; return the monotonic time of that."""
        deadline = time.monotonic() + timeout
        view = self._json("get", "--prefix", directory, "--keys-only")
        argv, env = self._etcdctl("watch", "--prefix", directory, f"--rev={view['header']['revision'] + 1}")
        number = len(view.get("kvs", []))
        moment = time.monotonic()
        if number:
            with Watched([*PDEATHSIG, *argv], env=env) as watch:
                wait_until(lambda: watch.stdout.count(b"DELETE\n") >= number, f"the end of {directory}", timeout)
                moment = watch.output[-1][0]
        if self.keys_v2(directory):
            wait_until(lambda: not self.keys_v2(directory), f"the end of {directory}", deadline - time.monotonic())
            moment = time.monotonic()
        return moment

    def keys_v2(self, directory: str) -> list[dict[str, Any]]:
        """Return the keys in a directory of the v2 API, lowest first: key, value, createdIndex."""
        path = f"/v2/keys{directory.rstrip('/')}?quorum=true&recursive=true&sorted=true"
        member = self.running[0]
        answer = member.request("GET", path)
        # Without an answer nothing is known. Where v2 is not served, nothing is there.
        served = set(release.v2_flags()) & set(member.extra_args)
        assert not served or "node" in answer or answer.get("errorCode") == NO_KEY, f"{member.name}: {answer}"
        nodes = answer.get("node", {}).get("nodes", [])
        return [{name: node[name] for name in ("key", "value", "createdIndex")} for node in nodes]

    def revision(self) -> int:
        """Return the store's revision, which every write increments."""
        return int(self._json("get", "x")["header"]["revision"])

    def leases(self) -> list[int]:
        """Return the ids of all leases."""
        return [lease["id"] for lease in self._json("lease", "list").get("leases") or []]

    def lease_left(self, lease: int) -> int:
        """Return the seconds that the lease has left; -1 if it is gone."""
        return int(self._json("lease", "timetolive", f"{lease:x}")["ttl"])

    def grant(self, ttl: int) -> int:
        """Grant a lease of `ttl` seconds; return its id."""
        return int(self._json("lease", "grant", str(ttl))["ID"])

    def revoke(self, lease: int) -> None:
        """Revoke a lease, which deletes its keys."""
        self.etcdctl("lease", "revoke", f"{lease:x}")

    def revoke_all(self) -> None:
        """Revoke the leases that earlier tests left: at its end each would change the revision."""

        def gone() -> bool:
            for lease in self.leases():
                with contextlib.suppress(AssertionError):  # it has just ended
                    self.revoke(lease)
            return not self.leases()

        wait_until(gone, "the end of all leases")

    def put(self, key: str, value: str, lease: int = 0) -> None:
        """Write a key."""
        self.etcdctl("put", f"--lease={lease:x}", "--", key, value)

    def delete(self, key: str, prefix: bool = False) -> int:
        """Delete a key, or all keys with this prefix; return how many were deleted."""
        return int(self.etcdctl("del", *(["--prefix"] if prefix else []), "--", key).split()[0])

    def lock_process(self, path: str, ttl: int = 10) -> LockProcess:
        """Start `etcdctl lock path` (its session ends `ttl` seconds after a SIGKILL)."""
        argv, env = self._etcdctl("lock", f"--ttl={ttl}", path)
        return LockProcess(argv, env=env)
