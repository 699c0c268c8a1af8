# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The commands that we ask (testparm, ctdb): bounded in time and output, run beside our other work.

A kernel timer of its own ends each command, so it does not outlive its use even if we are killed.
"""

from __future__ import annotations

import os
import select
import signal
import time

from ..waiting import rest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..waiting import Waiter

NOT_RUN = 127
_OUTPUT_MAX = 65536
# The seconds that testparm may take where nobody waits for us; a helper has less.
TESTPARM_SECONDS = 10.0
# The number is for people only.
_PNN_SECONDS = 1.0
# Seconds between two looks at a command that has closed its output: at first, as most end at once, and at most.
_EXIT_POLLS = (0.001, 0.05)
# Looks at a command that was killed, and the seconds between two.
_KILL_POLLS = 10
_KILL_POLL = 0.01


def testparm() -> Command:
    """Start to ask Samba for the netbios name. Raises OSError."""
    # Killed later than anybody waits for it, so that a late answer is distinguished from a failure.
    # -l: what else may be wrong in smb.conf does not matter, and would be its exit status.
    return Command(["testparm", "-s", "-l", "--parameter-name=netbios name"], TESTPARM_SECONDS + 1)


class Command:
    """A command, started at once. It is killed by its own kernel timer after `seconds` at the latest."""

    def __init__(self, argv: list[str], seconds: float) -> None:
        """Raises OSError: no descriptor or process can be had."""
        self.argv = argv
        # If SIGCHLD were ignored, the kernel would discard the command's exit status.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        pipes: list[int] = []
        try:
            pipes += os.pipe()
            pipes += os.pipe()
            self._pid = os.fork()
        except OSError:
            for end in pipes:
                os.close(end)
            raise
        self._out, out, self._err, err = pipes
        if self._pid == 0:
            self._become(out, err, seconds)
        os.close(out)
        os.close(err)

    def _become(self, out: int, err: int, seconds: float) -> None:
        try:
            os.dup2(out, 1)
            os.dup2(err, 2)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            signal.setitimer(signal.ITIMER_REAL, seconds)
            os.execvp(self.argv[0], self.argv)
        except OSError as error:
            os.write(2, (error.strerror or "").encode())
        finally:
            os._exit(NOT_RUN)

    def output(self, waiter: Waiter, deadline: float) -> tuple[int, str, str]:
        """Wait for its end: exit status (negative: the signal that ended it; NOT_RUN), stdout, stderr.

        Raises TimeoutError at the deadline (monotonic seconds), Stopped; the command is killed then.
        """
        texts = {self._out: b"", self._err: b""}
        reading = {self._out: select.POLLIN, self._err: select.POLLIN}
        try:
            while reading and len(texts[self._out]) <= _OUTPUT_MAX:
                for ready in waiter.wait(reading, deadline):
                    chunk = os.read(ready, _OUTPUT_MAX)
                    # testparm warns of each old parameter in each share.
                    texts[ready] = (texts[ready] + chunk)[: _OUTPUT_MAX + 1]
                    if not chunk:
                        del reading[ready]
            if reading:
                os.kill(self._pid, signal.SIGKILL)
            status = self._end(waiter, deadline)
        except BaseException:
            self._kill()
            raise
        finally:
            os.close(self._out)
            os.close(self._err)
        out, err = (text.decode("utf-8", "backslashreplace") for text in texts.values())
        return status, out, err

    def _kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        # A holder must not keep a zombie for months, nor wait for a command that hangs in the kernel.
        for _ in range(_KILL_POLLS):
            if os.waitpid(self._pid, os.WNOHANG)[0]:
                return
            # As in all our waits: time.sleep fails under libfaketime, with which the chaos run moves wall clocks.
            select.select([], [], [], _KILL_POLL)

    def _end(self, waiter: Waiter, deadline: float) -> int:
        """Wait for the exit: a command may close its output and continue."""
        pause, longest = _EXIT_POLLS
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= deadline:
                raise TimeoutError
            rest(waiter, min(deadline, time.monotonic() + pause))
            pause = min(2 * pause, longest)


def node_number(waiter: Waiter, latest: float) -> Callable[[], int | None]:
    """Start to ask CTDB for this node's number (its PNN). What is returned waits for the answer: None if there is none.

    `latest` is the moment (monotonic) after which nobody waits for it any more. The wait raises Stopped.
    """
    deadline = min(latest, time.monotonic() + _PNN_SECONDS)
    try:
        command = Command(["ctdb", "pnn"], _PNN_SECONDS + 1)
    except OSError:
        return lambda: None

    def wait() -> int | None:
        try:
            status, out, _ = command.output(waiter, deadline)
        except TimeoutError:
            return None
        number = out.strip()
        return int(number) if status == 0 and number.isdecimal() else None

    return wait
