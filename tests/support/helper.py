# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The program under test, run as ctdbd runs it, and its output as ctdbd sees it.

stdin is /dev/null and stdout is a pipe.  SIGPIPE and SIGUSR1 are ignored, every other signal is at its default.
Descriptors above 2 are inherited on request.  The environment has PATH and what the test adds.  `CTDB_ETCD_LOCK` in the
environment of the test run replaces the program in the checkout.
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
from .machine import ENOUGH, spawn, wait_until
from .process import Watched

PROGRAM = os.environ.get("CTDB_ETCD_LOCK", str(TREE / "ctdb_etcd_lock.py"))
PARENT = str(Path(__file__).with_name("parent.py"))

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Conf = Union[str, Path, None]


class Helper(Watched):
    """A running `PROGRAM -c conf args...`: a child of the test, or with `own_parent` of a process that can be killed.

    `program` replaces PROGRAM; with `conf` None it gets only `args`.  `python` replaces the interpreter in its first
    line.  `strace` has the arguments of strace(1) to run it under: it stays our direct child, and without `-o FILE` the
    trace goes to its stderr.  `env` is added to the environment.  For `stderr` and `extra_fds` see `Watched`.
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
        # env(1) instead of preexec_fn, which would run Python code between fork and exec in a process with threads.
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
                # The keeper must outlive us for a moment: it kills its descendants when its stdin ends.
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

    def status(self, timeout: float = ENOUGH) -> str:
        """Wait for the status character and return it; without one in time raise AssertionError with the stderr."""
        return self.wait_output(timeout).decode(errors="replace")[0]

    @property
    def answered_after(self) -> float:
        """Seconds from the start to the status character, including 2 ms for setpriv and env before the program."""
        if self.first_byte is None:
            raise AssertionError(f"no status of {self.describe()}")
        return self.first_byte - self.started

    def kill_parent(self) -> None:
        """Send SIGKILL to the program's own parent; the program's new parent is not process 1."""
        assert self._own_parent, "a child of the test itself"
        signal.pidfd_send_signal(self._parent, signal.SIGKILL)

    @property
    def returncode(self) -> Optional[int]:
        """As in `Watched`; None with `own_parent`, since only that parent gets the exit status."""
        return None if self._own_parent else super().returncode

    def _end(self) -> None:
        if not self._own_parent:
            super()._end()
            return
        # The keeper kills all its descendants, then exits.
        assert self._child.stdin
        self._child.stdin.close()
        self._child.wait(10)
        os.close(self._parent)


def full_pipe() -> tuple[int, int]:
    """Return a full pipe (read end, write end).

    As `stderr`, with its read end in `extra_fds`, it acts as the log pipe of a ctdbd that is stuck or gone.
    """
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
    count: int, conf_for: Callable[[int], Conf], *args: str, timeout: float = ENOUGH, **options: object
) -> ContextManager[list[Helper]]:
    """Start helpers as `at_once` does; each gets the configuration file `conf_for(number)`."""

    def start(number: int, barrier: int) -> Helper:
        return Helper(conf_for(number), *args, barrier=barrier, **options)  # type: ignore

    return at_once(count, start, timeout)


@contextmanager
def at_once(count: int, start: Callable[[int, int], Helper], timeout: float = ENOUGH) -> Iterator[list[Helper]]:
    """Start `count` helpers at the same moment; yield them, the holder running, once all have reported their status.

    `start(number, barrier)` makes each helper.  All wait in a shell for the end of one pipe; `started` is its time.
    """
    with ExitStack() as stack:
        barrier, release = os.pipe()
        try:
            helpers = [stack.enter_context(start(number, barrier)) for number in range(count)]
            for helper in helpers:
                wait_until(lambda pid=helper.pid: _waits_in_shell(pid), "helpers at the barrier")  # type: ignore
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
    """Run helpers one after the other until one reports `0`; yield that one.

    Nobody else had the lock before its `first_byte`.  For `leisure` seconds, in which the lock cannot be free yet, one
    helper a second is tried; then there is no pause.
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


def usual_start(conf: Conf) -> float:
    """Return the seconds that a helper needs to report `0`."""
    with Helper(conf) as helper:
        assert helper.status() == "0", helper.describe()
        helper.terminate()
        helper.wait_exit()
        return helper.answered_after


def terminated_at_any_moment(conf: Callable[[], Conf], parts: int, exit_within: float) -> Iterator[Helper]:
    """Start helpers one after the other and send each SIGTERM, later each time; yield each once it has exited.

    A step is one of `parts` of the time that a first helper needs to report `0`. The last one comes half of that time
    after it, or later: some helpers were terminated before `0`, some after.
    """
    usual = usual_start(conf())
    answers = set()
    for step in range(10 * parts):
        with Helper(conf()) as helper:
            time.sleep(step / parts * usual)
            helper.terminate()
            helper.wait_exit(exit_within)
            assert helper.stderr == "" and helper.stdout in (b"", b"0"), helper.describe()
            yield helper
        answers.add(helper.stdout)
        if step + 1 >= 1.5 * parts and b"0" in answers:
            break
    # Otherwise all signals came too early or too late to show anything.
    assert answers == {b"", b"0"}


def crash(holder: Helper, nonce_file: Path, elsewhere: bool = False) -> None:
    """Kill a holder once it has written its nonce file; with `elsewhere` remove the file, as if on another machine."""
    assert holder.status() == "0", holder.describe()
    wait_until(lambda: nonce_file.exists() and nonce_file.read_text(), "the holder's nonce file")
    if elsewhere:
        nonce_file.unlink()
    holder.kill()
    holder.wait_exit()
