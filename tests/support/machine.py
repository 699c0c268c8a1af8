# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What a test run borrows from the machine, and returns: ports, a directory, processes.

Two test runs at the same time never get the same port.  When the run is killed, even by SIGKILL, the kernel kills its
processes and a waiting shell removes its directories.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Callable, Optional, Sequence, Set, Tuple, TypeVar

T = TypeVar("T")

PDEATHSIG = ("setpriv", "--pdeathsig", "KILL")


def wait_until(condition: Callable[[], T], timeout: float, what: str, pause: float = 0.02) -> T:
    """Return the first true value of `condition`; AssertionError naming `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for: {what}")
        time.sleep(pause)


def descriptors() -> Set[Tuple[str, str]]:
    """This process's descriptors, each with what it leads to: those that others have left may vanish meanwhile."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the list itself
            found.add((fd, os.readlink(f"/proc/self/fd/{fd}")))
    return found


def thread_states(pid: int) -> list[str]:
    """The state letter of each thread of a process, as proc(5) has them."""
    states = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            states.append((thread / "stat").read_text().rpartition(") ")[2][0])
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended meanwhile
    return states


class Port:
    """A free TCP port on 127.0.0.1, ours until `close()` even while nothing listens on it.

    It lies below the kernel's ephemeral range, so that no outgoing connection takes it while an etcd restarts; an
    abstract unix socket keeps other test runs away from it and vanishes with this process.
    """

    def __init__(self) -> None:
        for _ in range(1000):
            self.number = random.SystemRandom().randrange(20000, 32000)
            self._claim = socket.socket(socket.AF_UNIX)
            try:
                self._claim.bind(f"\0ctdb-etcd-test-port-{self.number}")
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", self.number))
                return
            except OSError:
                self._claim.close()
        raise AssertionError("no free port on 127.0.0.1 between 20000 and 32000")

    @property
    def endpoint(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.number}"

    def close(self) -> None:
        """Let others have it."""
        self._claim.close()


class Scratch:
    """A directory in memory (else in the usual temporary place) that is removed by `close()` or when we die.

    One shell waits for the end of a pipe that only this process holds, then removes it: `close()` goes the same way.
    """

    # Tried again for a while: what is killed together with us may still be writing.
    _JANITOR = 'read x; for i in 1 2 3 4 5 6 7 8 9; do rm -rf "$0" 2>/dev/null && exit; sleep 0.2; done; exit 1'

    def __init__(self) -> None:
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.path = Path(tempfile.mkdtemp(prefix="ctdb-etcd-test-", dir=memory))
        self._janitor = subprocess.Popen(
            ["sh", "-c", self._JANITOR, str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def close(self) -> None:
        """Remove it now."""
        if self._janitor.stdin and not self._janitor.stdin.closed:
            self._janitor.stdin.close()
            assert self._janitor.wait(10) == 0, f"{self.path} could not be removed"


def spawn(
    argv: Sequence[str],
    *,
    env: Optional[dict[str, str]] = None,
    stdin: Optional[int] = subprocess.DEVNULL,
    stdout: Optional[int] = None,
    stderr: Optional[int] = None,
    pass_fds: Sequence[int] = (),
    dies_with_us: bool = True,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own (no terminal's Ctrl-C reaches it) that dies when we die.

    To be called from the main thread: the kernel's death signal is tied to the thread that starts the child.
    """
    prefix = PDEATHSIG if dies_with_us else ()
    return subprocess.Popen(
        [*prefix, *argv], env=env, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds, start_new_session=True
    )


def end(child: subprocess.Popen[bytes], timeout: float = 10) -> None:
    """SIGKILL the child and reap it; nothing to do if that was done before."""
    if child.returncode is None:
        child.kill()
        child.wait(timeout)


def gone(pid: int) -> bool:
    """Whether no process (or only its zombie) has this number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True
