# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Resources of the machine that a test run uses and releases: ports, directories, processes.

Two simultaneous test runs never get the same port.  When the run is killed, even by SIGKILL, the kernel kills its
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

# Seconds to wait for something that takes a moment, since a busy machine takes longer.
ENOUGH = 30.0


def wait_until(condition: Callable[[], T], what: str, timeout: float = ENOUGH, pause: float = 0.02) -> T:
    """Return the first true value of `condition`; after `timeout` seconds raise AssertionError with `what`."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for: {what}")
        time.sleep(pause)


def descriptors() -> Set[Tuple[str, str]]:
    """Return this process's descriptors, each with the target of its link; skip those that are closed meanwhile."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # such as that of listdir itself
            found.add((fd, os.readlink(f"/proc/self/fd/{fd}")))
    return found


def thread_states(pid: int) -> list[str]:
    """Return the state letter of each thread of a process, as in proc(5)."""
    states = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            states.append((thread / "stat").read_text().rpartition(") ")[2][0])
        except (FileNotFoundError, ProcessLookupError):
            pass  # the thread has ended
    return states


class Port:
    """A free TCP port on 127.0.0.1, reserved until `close()` even while nothing listens on it.

    The port is below the kernel's ephemeral range, so that no outgoing connection takes it while an etcd restarts. An
    abstract Unix socket reserves it against other test runs; the kernel removes it with this process.
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
        """Release the port."""
        self._claim.close()


class Scratch:
    """A directory in /dev/shm, or else in the default temporary directory; `close()` or our end removes it.

    A shell removes the directory at the end of a pipe that only this process holds; `close()` closes that pipe.
    """

    # Retry for a while: processes that are killed together with us may still be writing.
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
        """Remove the directory now."""
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
    """Start a program in its own session, which no Ctrl-C reaches; it is killed when we die.

    Call this from the main thread: the kernel sends the death signal when the thread that started the child ends.
    """
    prefix = PDEATHSIG if dies_with_us else ()
    return subprocess.Popen(
        [*prefix, *argv], env=env, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds, start_new_session=True
    )


def end(child: subprocess.Popen[bytes], timeout: float = ENOUGH) -> None:
    """Kill the child with SIGKILL and reap it, unless it has been reaped."""
    if child.returncode is None:
        child.kill()
        child.wait(timeout)


def gone(pid: int) -> bool:
    """Return whether no process, or only a zombie, has this pid."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True
