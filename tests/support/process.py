# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A watched child process: each read from its stdout, the end of its output and its exit have a time stamp.

All time stamps are of `time.monotonic()`.  One thread waits for all three events in poll(2), so that the stamps are
right however busy the test is.  Signals go through a pidfd, so that they never reach another process that got the pid.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from typing import Any, Callable, Mapping, Optional, Sequence, TypeVar

from .machine import ENOUGH, spawn

W = TypeVar("W", bound="Watched")


class Watched:
    """A program run with stdin /dev/null, stdout a pipe and stderr an unnamed file (or the descriptor `stderr`).

    `env` is the whole environment (default: ours).  The program inherits `extra_fds` under the same numbers.  `stdin`
    is for a barrier.  The context manager kills the program's whole process group at the end and reaps the program.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Optional[Mapping[str, str]] = None,
        stdin: int = subprocess.DEVNULL,
        stderr: Optional[int] = None,
        extra_fds: Sequence[int] = (),
    ) -> None:
        self.argv = list(argv)
        self.label = " ".join(argv)
        self.pid = 0
        self.output: list[tuple[float, bytes]] = []
        self.eof: Optional[float] = None
        self.exited: Optional[float] = None
        self._changed = threading.Condition()
        self._errors = tempfile.TemporaryFile()
        self._stdout, stdout = os.pipe()
        self._wake, self._waker = os.pipe()
        self._closed = False
        environment = dict(os.environ) if env is None else dict(env)
        try:
            self.started = time.monotonic()
            self._pidfd = self._spawn(environment, stdin, stdout, stderr or self._errors.fileno(), extra_fds)
        finally:
            os.close(stdout)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _spawn(self, env: dict[str, str], stdin: int, stdout: int, stderr: int, extra_fds: Sequence[int]) -> int:
        """Start the program and set `pid`; return its pidfd."""
        self._child = spawn(self.argv, env=env, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=extra_fds)
        self.pid = self._child.pid
        return os.pidfd_open(self.pid)

    def _watch(self) -> None:
        poll = select.poll()
        for fd in (self._stdout, self._pidfd, self._wake):
            poll.register(fd, select.POLLIN)
        reading = True
        while reading or self.exited is None:
            ready = {fd for fd, _ in poll.poll()}
            now = time.monotonic()
            with self._changed:
                if self._stdout in ready:
                    data = os.read(self._stdout, 4096)
                    if data:
                        self.output.append((now, data))
                    else:
                        self.eof = now
                        reading = False
                if self._wake in ready:
                    poll.unregister(self._wake)
                    reading = False
                if not reading and self._stdout >= 0:
                    poll.unregister(self._stdout)
                    os.close(self._stdout)
                    self._stdout = -1
                if self._pidfd in ready:
                    poll.unregister(self._pidfd)
                    self.exited = now
                self._changed.notify_all()

    def _await(self, value: Callable[[], Any], timeout: float, what: str) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: value() is not None, timeout)
            result = value()
        if result is None:
            raise AssertionError(f"waited {timeout:g} s in vain for {what} of {self.describe()}")
        return result

    def describe(self) -> str:
        """Return what is known about the process, for the message of a failing test."""

        def after(moment: Optional[float]) -> str:
            return "no" if moment is None else f"after {moment - self.started:.3f} s"

        return (
            f"{self.label} (pid {self.pid})\n  stdout: {self.stdout!r}, end of output: {after(self.eof)}, "
            f'exited: {after(self.exited)}\n  stderr: {self.stderr or "(empty)"}'
        )

    @property
    def stdout(self) -> bytes:
        """The output on stdout so far."""
        return b"".join(data for _, data in self.output)

    @property
    def stderr(self) -> str:
        """The contents of the stderr file."""
        if self._errors.closed:
            return ""
        size = os.fstat(self._errors.fileno()).st_size
        return os.pread(self._errors.fileno(), size, 0).decode(errors="replace")

    @property
    def first_byte(self) -> Optional[float]:
        """The time of the first byte on stdout; None before it."""
        return self.output[0][0] if self.output else None

    @property
    def alive(self) -> bool:
        """Whether the program has not exited."""
        return self.exited is None

    def wait_output(self, timeout: float = ENOUGH) -> bytes:
        """Wait for the first output and return it; without any in time raise AssertionError with the stderr."""
        self._await(lambda: self.output or self.eof, timeout, "the first byte on stdout")
        if not self.output:
            raise AssertionError(f"no byte on stdout of {self.describe()}")
        return self.stdout

    def wait_eof(self, timeout: float = ENOUGH) -> float:
        """Wait for the end of output, by which ctdbd detects the loss of the lock; return its time."""
        return float(self._await(lambda: self.eof, timeout, "the end of output"))

    def wait_exit(self, timeout: float = ENOUGH) -> float:
        """Wait for the exit; return its time."""
        return float(self._await(lambda: self.exited, timeout, "the exit"))

    def signal(self, number: int) -> None:
        """Send a signal; do nothing if the program is gone."""
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            pass

    def terminate(self) -> None:
        """Send SIGTERM, as ctdbd does to have the lock released."""
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.signal(signal.SIGKILL)

    def stop(self) -> None:
        """Send SIGSTOP."""
        self.signal(signal.SIGSTOP)

    def cont(self) -> None:
        """Send SIGCONT."""
        self.signal(signal.SIGCONT)

    def close_stdout(self, timeout: float = ENOUGH) -> None:
        """Close the read end of the program's stdout."""
        os.write(self._waker, b"x")
        self._await(lambda: self._stdout < 0 or None, timeout, "closing stdout")

    @property
    def returncode(self) -> Optional[int]:
        """The exit status (the negative signal number, if a signal ended the program); None while it runs."""
        if self.exited is None:
            return None
        if self._child.returncode is not None:
            return self._child.returncode
        # Do not reap before close(): until then no other process or process group can get this pid.
        result = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        assert result is not None
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status

    def _end(self) -> None:
        """Kill the program's process group and reap the program."""
        os.killpg(self.pid, signal.SIGKILL)
        self._child.wait(10)

    def close(self) -> None:
        """Kill and reap the program and close every descriptor."""
        if self._closed:
            return
        self._closed = True
        self._end()
        os.write(self._waker, b"x")
        self._watcher.join(10)
        for fd in (self._wake, self._waker, self._pidfd):
            os.close(fd)
        self._errors.close()

    def __enter__(self: W) -> W:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
