# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""One real etcd process at its default flags, which can be killed, paused, resumed and restarted.

Given are only names, URLs, data directory, log level and what the test asks for.  A member that is killed or paused
counts as not running: nothing here waits for it.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

from . import release
from .machine import end, spawn, thread_states, wait_until

WALL_CLOCK = str(Path(__file__).with_name("wall_clock.py"))


@dataclass
class Tls:
    """Paths of PEM files: what the members present to clients (the tests show the same), and who signed it."""

    cert: str
    key: str
    ca: str


def arguments(name: str, data: str, client: str, peer: str, cluster: str, listen: str = "") -> list[str]:
    """Of an etcd of that name at these URLs (`listen`: for clients, if not where it says that it is).

    `cluster` is every member's "name=URL for its peers", joined by commas.
    """
    argv = ["--name", name, "--data-dir", data, "--initial-cluster", cluster]
    argv += ["--listen-client-urls", listen or client, "--advertise-client-urls", client]
    return [*argv, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]


class Member:
    """One etcd process that can be killed, paused, resumed and restarted on its own data and ports.

    `client` and `peer` are `host:port`; `http_endpoint` is another one where the client port speaks gRPC only. `enter`
    stands before its command, for another place than ours, where we can still reach it.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        client: str,
        peer: str,
        cluster: Callable[[], str],
        extra_args: Sequence[str] = (),
        tls: Optional[Tls] = None,
        enter: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.endpoint = self.http_endpoint = client
        self.peer_url = f"http://{peer}"
        self.log_path = directory / f"{name}.log"
        self.running = False
        self.extra_args = list(extra_args)
        self.program = release.program()
        self.clock_ahead = 0  # seconds
        self._tls = tls
        self._cluster = cluster
        self.data = directory / name
        self._enter = list(enter)
        self._process: Optional[subprocess.Popen[bytes]] = None

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process, "not started"
        return self._process.pid

    def start(self) -> None:
        """Start it and return at once (`Etcd.wait_healthy` waits)."""
        protocol = "https" if self._tls else "http"
        client = f"{protocol}://{self.endpoint}"
        argv = [self.program, "--log-level", "warn"]
        if self.http_endpoint != self.endpoint:
            argv += ["--listen-client-http-urls", f"{protocol}://{self.http_endpoint}"]
        argv += arguments(self.name, str(self.data), client, self.peer_url, self._cluster())
        if self._tls:
            argv += ["--cert-file", self._tls.cert, "--key-file", self._tls.key]
        env = {key: value for key, value in os.environ.items() if not key.startswith("ETCD_")}
        if "ETCD_UNSUPPORTED_ARCH" in os.environ:
            env["ETCD_UNSUPPORTED_ARCH"] = os.environ["ETCD_UNSUPPORTED_ARCH"]
        if self.clock_ahead:
            argv = [sys.executable, "-I", WALL_CLOCK, str(self.clock_ahead), *argv]
        with self.log_path.open("ab") as log:
            argv = [*self._enter, *argv, *self.extra_args]
            self._process = spawn(argv, env=env, stdout=log.fileno(), stderr=log.fileno())
        self.running = True

    def kill(self) -> None:
        """SIGKILL: its ports refuse connections from now on."""
        self.running = False
        if self._process:
            end(self._process)

    def terminate(self) -> None:
        """SIGTERM, as a service manager stops it: a leader hands over first.  `exited` says when it is gone."""
        self.running = False
        os.kill(self.pid, signal.SIGTERM)

    @property
    def exited(self) -> bool:
        """Whether its process is gone."""
        return self._process is None or self._process.poll() is not None

    def pause(self) -> None:
        """SIGSTOP: connections are accepted by the kernel, nobody answers."""
        self.running = False
        os.kill(self.pid, signal.SIGSTOP)
        # A thread on another processor may still answer for a moment.
        wait_until(lambda: set(thread_states(self.pid)) == {"T"}, 10, "each thread of etcd to stop", 0.001)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)
        self.running = True

    def heal(self) -> None:
        """Resume it if it is paused, start it if it is dead."""
        if not self.running:
            if self._process and self._process.poll() is None:
                self.resume()
            else:
                self.start()

    def restart(self) -> None:
        """Start it again on its data, killed before if need be."""
        self.kill()
        self.start()

    def log(self, lines: int = 20) -> str:
        """The last lines of its log."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def ask(self, method: str, path: str, body: Optional[str] = None, timeout: float = 2) -> Optional[dict[str, Any]]:
        """The JSON answer of one HTTP request to it; None if there is none in time."""
        host, port = self.http_endpoint.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
        if self._tls:
            context = ssl.create_default_context(cafile=self._tls.ca)
            # Whether a certificate is any good is for the program under test to say.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.load_cert_chain(self._tls.cert, self._tls.key)
            connection = http.client.HTTPSConnection(host, int(port), timeout=timeout, context=context)
        try:
            try:
                connection.request(method, path, body)
                answer = json.loads(connection.getresponse().read())
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError):
            return None
        return answer if isinstance(answer, dict) else None

    def request(self, method: str, path: str, timeout: float = 2) -> dict[str, Any]:
        """The same without a body of ours; {} if there is no answer in time."""
        return self.ask(method, path, "{}" if method == "POST" else None, timeout) or {}

    def ids(self, timeout: float = 2) -> tuple[str, str]:
        """Its own member id and that of the leader as it sees it; empty strings if it does not answer."""
        status = self.request("POST", "/v3/maintenance/status", timeout)
        return status.get("header", {}).get("member_id", ""), status.get("leader", "")

    def is_leader(self, timeout: float = 2) -> bool:
        """Whether it runs and takes itself for the leader."""
        own, leader = self.ids(timeout) if self.running else ("", "")
        return own != "" and own == leader

    def healthy(self) -> bool:
        """Whether it answers that the cluster can commit through it."""
        return self.running and str(self.request("GET", "/health").get("health")).lower() == "true"
