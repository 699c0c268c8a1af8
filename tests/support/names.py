# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Name resolution: a mount namespace with its own /etc/hosts and resolv.conf, and a real or a silent name server.

The network is the test's: name servers listen on their own addresses in 127.77.0.0/16 (127.78.0.0/16 behind a delay).
"""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Iterator, Union

from .helper import PROGRAM, Helper
from .machine import end, spawn, wait_until


class Names:
    """A mount namespace with the test's own /etc/hosts and /etc/resolv.conf (one name server, at `address`)."""

    def __init__(self, directory: Path) -> None:
        self.address = f"127.77.{random.SystemRandom().randrange(256)}.{random.SystemRandom().randrange(1, 255)}"
        self._directory = directory
        self._keeper = spawn(
            ["unshare", "--mount", "sh", "-c", "echo ready; exec sleep infinity"], stdout=subprocess.PIPE
        )
        assert self._keeper.stdout and self._keeper.stdout.readline() == b"ready\n", "unshare --mount failed"
        self._enter = [f"--mount=/proc/{self._keeper.pid}/ns/mnt"]
        # The prefix of a command that runs it in the namespace.
        self.enter = ["nsenter", *self._enter]
        self._server: Union[subprocess.Popen[bytes], socket.socket, None] = None
        self._slow: Union[socket.socket, None] = None
        self.hosts("127.0.0.1 localhost\n::1 localhost\n")
        self._replace("/etc/resolv.conf", f"nameserver {self.address}\n")

    def hosts(self, text: str) -> None:
        """Make this text /etc/hosts; call it before a program resolves a name."""
        self._replace("/etc/hosts", text)

    def _replace(self, path: str, text: str) -> None:
        copy = self._directory / Path(path).name
        is_new = not copy.exists()
        copy.write_text(text)
        if is_new:
            self.run("mount", "--bind", str(copy), path)

    def run(self, *command: str) -> None:
        """Run a command in the namespace."""
        done = subprocess.run([*self.enter, *command], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def helper(self, conf: object, *args: str, **options: object) -> Helper:
        """Run the program under test in the namespace; see Helper."""
        command = [*self._enter, PROGRAM, "-c", str(conf), *args]
        return Helper(None, *command, program="nsenter", **options)  # type: ignore[arg-type]

    def serve(self, *records: str, delay: float = 0) -> None:
        """Start dnsmasq with these records (its options without the dashes); other names do not exist.

        Each answer is delayed by `delay` seconds.
        """
        self.stop()
        command = [
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
        ]
        address = self.address.replace("127.77.", "127.78.") if delay else self.address
        command += [f"--listen-address={address}", "--bind-interfaces", "--pid-file=", "--local=/test/"]
        self._server = spawn([*command, *(f"--{record}" for record in records)])
        wait_until(lambda: self._answers(address), "dnsmasq to answer")
        if delay:
            self._slow = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._slow.bind((self.address, 53))
            threading.Thread(target=self._hold_back, args=(self._slow, address, delay), daemon=True).start()

    @staticmethod
    def _hold_back(asked: socket.socket, address: str, delay: float) -> None:
        def answer(query: bytes, asker: tuple[str, int]) -> None:
            with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.settimeout(5)
                asking.sendto(query, (address, 53))
                asked.sendto(asking.recv(4096), asker)

        with contextlib.suppress(OSError):
            while True:
                threading.Timer(delay, answer, asked.recvfrom(4096)).start()

    @staticmethod
    def _answers(address: str) -> bool:
        query = b"\0\1\1\0\0\1\0\0\0\0\0\0\4test\0\0\1\0\1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.2)
            asking.sendto(query, (address, 53))
            try:
                return bool(asking.recv(512))
            except OSError:
                return False

    def fall_silent(self) -> None:
        """Replace the name server with one that answers no query."""
        self.stop()
        self._server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._server.bind((self.address, 53))

    def stop(self) -> None:
        """Stop the name server: the kernel then refuses queries."""
        if isinstance(self._server, socket.socket):
            self._server.close()
        elif self._server:
            end(self._server)
        self._server = None
        if self._slow:
            self._slow.close()
        self._slow = None

    def close(self) -> None:
        """Stop the name server and end the namespace's last process, which removes the namespace."""
        self.stop()
        end(self._keeper)
        assert self._keeper.stdout
        self._keeper.stdout.close()

    def __enter__(self) -> Names:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Relay:
    """A TCP relay from a free port on `host` to a target that can change while it runs."""

    def __init__(self, target: str, host: str = "127.0.0.1") -> None:
        self._target = target
        self._open: list[socket.socket] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port = self._listener.getsockname()[1]
        self.endpoint = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def switch(self, target: str) -> None:
        """Close all connections and forward new ones to another target."""
        self._target = target
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                host, port = self._target.split(":")
                server = socket.create_connection((host, int(port)), 5)
                self._open += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(65536)
                if not data:
                    break
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.switch(self._target)


@contextlib.contextmanager
def black_hole(host: str, port: int = 0) -> Iterator[int]:
    """Yield a port where no connection attempt is answered, because the listener's queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.1)
        yield listener.getsockname()[1]
