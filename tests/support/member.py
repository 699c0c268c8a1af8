# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""One real etcd process with default flags, which can be killed, paused, resumed and restarted.

Only names, URLs, data directory, log level and the flags that a test asks for are set.  A member that is killed or
paused counts as not running: nothing here waits for it.
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
    """Paths of PEM files: the certificate and key that members and tests present, and the CA that signed it."""

    cert: str
    key: str
    ca: str


def arguments(name: str, data: str, client: str, peer: str, cluster: str, listen: str = "") -> list[str]:
    """Return the arguments of an etcd with these URLs (`listen`: client URL, if not the advertised one).

    `cluster` is every member's "name=peer URL", joined by commas.
    """
    argv = ["--name", name, "--data-dir", data, "--initial-cluster", cluster]
    argv += ["--listen-client-urls", listen or client, "--advertise-client-urls", client]
    return [*argv, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]


class Member:
    """One etcd process that can be killed, paused, resumed and restarted on its own data and ports.

    `client` and `peer` are `host:port`. `http_endpoint` differs from `client` if the client port serves gRPC only.
    `enter` is a command that runs etcd in another namespace, where the tests can still reach it.
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
        """The pid of the etcd process."""
        assert self._process, "not started"
        return self._process.pid

    def start(self) -> None:
        """Start etcd and return at once (`Etcd.wait_healthy` waits)."""
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
        """Send SIGKILL and reap; the ports then refuse connections."""
        self.running = False
        if self._process:
            end(self._process)

    def terminate(self) -> None:
        """Send SIGTERM, as a service manager does.  A leader hands over first; `exited` shows when etcd is gone."""
        self.running = False
        os.kill(self.pid, signal.SIGTERM)

    @property
    def exited(self) -> bool:
        """Whether the process is gone."""
        return self._process is None or self._process.poll() is not None

    def pause(self) -> None:
        """Send SIGSTOP: the kernel accepts connections, but etcd does not answer."""
        self.running = False
        os.kill(self.pid, signal.SIGSTOP)
        # A thread on another processor may still answer for a moment.
        wait_until(lambda: set(thread_states(self.pid)) == {"T"}, "each thread of etcd to stop", pause=0.001)

    def resume(self) -> None:
        """Send SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)
        self.running = True

    def heal(self) -> None:
        """Resume the member if it is paused, start it if it is dead."""
        if not self.running:
            if self._process and self._process.poll() is None:
                self.resume()
            else:
                self.start()

    def restart(self) -> None:
        """Kill etcd if it runs, and start it on the same data."""
        self.kill()
        self.start()

    def log(self, lines: int = 20) -> str:
        """Return the last lines of the log."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def post(self, path: str, body: dict[str, Any], timeout: float = 2) -> Optional[dict[str, Any]]:
        """Send one request of etcd's v3 API; return the answer, or None if there is none in time, or an error."""
        status, answer = self._exchange("POST", f"/v3/{path}", json.dumps(body), timeout)
        return answer if status == 200 else None

    def request(self, method: str, path: str, timeout: float = 10) -> dict[str, Any]:
        """Send one HTTP request (POST with an empty object); return the JSON answer, which may be an error.

        Return {} if none comes in time.
        """
        return self._exchange(method, path, "{}" if method == "POST" else None, timeout)[1] or {}

    def _exchange(self, method: str, path: str, body: Optional[str], timeout: float) -> tuple[int, Any]:
        """Return the HTTP status and the JSON answer; 0 and None if none comes in time."""
        host, port = self.http_endpoint.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
        if self._tls:
            context = ssl.create_default_context(cafile=self._tls.ca)
            # Only the program under test checks certificates.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.load_cert_chain(self._tls.cert, self._tls.key)
            connection = http.client.HTTPSConnection(host, int(port), timeout=timeout, context=context)
        try:
            try:
                connection.request(method, path, body)
                response = connection.getresponse()
                return response.status, json.loads(response.read())
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None

    def ids(self, timeout: float = 2) -> tuple[str, str]:
        """Return the member's id and the id of the leader that it sees; empty strings if it does not answer."""
        status = self.request("POST", "/v3/maintenance/status", timeout)
        return status.get("header", {}).get("member_id", ""), status.get("leader", "")

    def is_leader(self, timeout: float = 2) -> bool:
        """Return whether the member runs and considers itself the leader."""
        own, leader = self.ids(timeout) if self.running else ("", "")
        return own != "" and own == leader

    def healthy(self) -> bool:
        """Return whether the member runs and reports that the cluster can commit through it."""
        return self.running and str(self.request("GET", "/health").get("health")).lower() == "true"
