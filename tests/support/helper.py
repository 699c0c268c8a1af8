# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The program under test, run as ctdbd runs it, and what ctdbd would see of it.

stdin /dev/null, stdout a pipe, SIGPIPE and SIGUSR1 ignored, every other signal at its default, descriptors above 2
leaked on request, an environment that holds PATH and what the test adds.  `CTDB_ETCD_LOCK` in the environment of the
test run names another program than the one in the checkout.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Callable, ContextManager, Iterator, Mapping, Optional, Sequence, Union

from . import TREE
from .machine import spawn, wait_until
from .process import Watched

PROGRAM = os.environ.get("CTDB_ETCD_LOCK", str(TREE / "ctdb_etcd_lock.py"))
PARENT = str(Path(__file__).with_name("parent.py"))

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Conf = Union[str, Path, None]


class Helper(Watched):
    """Run `PROGRAM -c conf args...`; a child of the test, or with `own_parent` of a process that can be killed.

    `program` is another program (with `conf` None it gets just `args`), `python` another interpreter than that of its
    first line, `strace` arguments of strace(1) to run it under (it stays our direct child; give `-o FILE`, else the
    trace goes to its stderr), `env` what is added to the environment.  `stderr` and `extra_fds` see `Watched`.
    """

    def __init__(
        self,
        conf: Conf,
        *args: str,
        program: str = PROGRAM,
        python: Optional[str] = None,
        strace: Optional[Sequence[str]] = None,
        own_parent: bool = False,
        env: Optional[Mapping[str, str]] = None,
        stderr: Optional[int] = None,
        extra_fds: Sequence[int] = (),
        barrier: Optional[int] = None,
    ) -> None:
        command = [python, "-I", program] if python else [program]
        command += [*(["-c", str(conf)] if conf is not None else []), *args]
        if strace is not None:
            command = ["strace", "-D", "-q", *strace, *command]
        environment = {"PATH": PATH, **(env or {})}
        # env(1) instead of preexec_fn: no Python code between fork and exec of a process with threads.
        argv = [
            "env",
            "-i",
            "--default-signal",
            "--ignore-signal=PIPE,USR1",
            *(f"{key}={value}" for key, value in environment.items()),
            *command,
        ]
        if barrier is not None:
            argv = ["sh", "-c", 'read x; exec "$@" </dev/null', "barrier", *argv]
        self.parent_pid: Optional[int] = None if own_parent else os.getpid()
        self._own_parent = own_parent
        super().__init__(
            argv, stdin=subprocess.DEVNULL if barrier is None else barrier, stderr=stderr, extra_fds=extra_fds
        )
        self.label = " ".join(command)

    def _spawn(self, env: dict[str, str], stdin: int, stdout: int, stderr: int, extra_fds: Sequence[int]) -> int:
        if not self._own_parent:
            return super()._spawn(env, stdin, stdout, stderr, extra_fds)
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                # It must outlive us by a moment: it ends all below it when its stdin ends.
                self._child = spawn(
                    [sys.executable, "-I", PARENT, str(stdout), str(theirs.fileno()), *self.argv],
                    env=env,
                    stdin=subprocess.PIPE,
                    stderr=stderr,
                    pass_fds=[stdout, theirs.fileno(), *extra_fds],
                    dies_with_us=False,
                )
            ours.settimeout(20)
            report, fds, _, _ = socket.recv_fds(ours, 64, 1)
        if not fds:
            raise AssertionError(f"the parent of {self.argv} did not start: {self.stderr}")
        self.parent_pid, self.pid = (int(number) for number in report.split()[:2])
        self.started = float(report.split()[2])
        self._parent = os.pidfd_open(self.parent_pid)
        return fds[0]

    def status(self, timeout: float = 10) -> str:
        """Wait for the status character; AssertionError with the program's stderr if none comes in time."""
        return self.wait_output(timeout).decode(errors="replace")[0]

    @property
    def answered_after(self) -> float:
        """Seconds from the start (of the chain setpriv, env, program: 2 ms more than exec) to the status character."""
        if self.first_byte is None:
            raise AssertionError(f"no status of {self.describe()}")
        return self.first_byte - self.started

    def kill_parent(self) -> None:
        """SIGKILL the parent of its own; the program then gets another one, which is not process 1."""
        assert self._own_parent, "a child of the test itself"
        signal.pidfd_send_signal(self._parent, signal.SIGKILL)

    @property
    def returncode(self) -> Optional[int]:
        """As of `Watched`; None under a parent of its own, which is the only one to learn it."""
        return None if self._own_parent else super().returncode

    def _end(self) -> None:
        if not self._own_parent:
            super()._end()
            return
        # The keeper kills all that is below it, then exits.
        assert self._child.stdin
        self._child.stdin.close()
        self._child.wait(10)
        os.close(self._parent)


def full_pipe() -> tuple[int, int]:
    """A pipe (read end, write end) without room for one more byte: as `stderr`, with its read end in `extra_fds`,
    the log pipe of a ctdbd that is stuck or gone."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for size in (4096, 1):
        try:
            while True:
                os.write(writer, b"." * size)
        except BlockingIOError:
            pass
    os.set_blocking(writer, True)
    return reader, writer


def contend(
    count: int, conf_for: Callable[[int], Conf], *args: str, timeout: float = 30, **options: object
) -> ContextManager[list[Helper]]:
    """As `at_once`; `conf_for(number)` is the file of each."""

    def start(number: int, barrier: int) -> Helper:
        return Helper(conf_for(number), *args, barrier=barrier, **options)  # type: ignore

    return at_once(count, start, timeout)


@contextmanager
def at_once(count: int, start: Callable[[int, int], Helper], timeout: float = 30) -> Iterator[list[Helper]]:
    """Let `count` helpers loose at one instant; when all have given their status the body gets them, holder running.

    `start(number, barrier)` makes each.  All wait in a shell for the end of one pipe; `started` is that moment.
    """
    with ExitStack() as stack:
        barrier, release = os.pipe()
        try:
            helpers = [stack.enter_context(start(number, barrier)) for number in range(count)]
            for helper in helpers:
                wait_until(lambda pid=helper.pid: _waits_in_shell(pid), 10, "helpers at the barrier")  # type: ignore
        finally:
            os.close(barrier)
            now = time.monotonic()
            os.close(release)
        deadline = now + timeout
        for helper in helpers:
            helper.started = now
            helper.status(max(0, deadline - time.monotonic()))
        yield helpers


def _waits_in_shell(pid: int) -> bool:
    name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition(" (")[2].rpartition(") ")
    return name == "sh" and rest.startswith("S")


@contextmanager
def successor_of(
    conf: Conf, leisure: float, timeout: float = 25, program: str = PROGRAM
) -> Iterator[Helper]:
    """The first helper that says `0`, tried again and again: until its `first_byte` nobody else had the lock.

    For `leisure` seconds, in which the lock cannot be free yet, one a second is tried; from then on there is no pause.
    """
    begun = time.monotonic()
    while time.monotonic() < begun + timeout:
        with Helper(conf, program=program) as helper:
            if helper.status() == "0":
                yield helper
                return
        if time.monotonic() < begun + leisure:
            time.sleep(1)
    raise AssertionError("nobody can take the lock")


def crash(holder: Helper, nonce_file: Path, elsewhere: bool = False) -> None:
    """Kill a holder, once it has left its nonce file; `elsewhere`: as on a machine that nobody else can look at."""
    assert holder.status() == "0"
    wait_until(lambda: nonce_file.exists() and nonce_file.read_text(), 2, "the holder's nonce file")
    if elsewhere:
        nonce_file.unlink()
    holder.kill()
    holder.wait_exit()
