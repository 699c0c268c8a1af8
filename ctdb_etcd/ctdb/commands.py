# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The commands that we ask something (testparm, ctdb): bounded in time and output, beside our other work.

A kernel timer of its own ends a command, so it doesn't outlive its use even if we are killed.
"""

from __future__ import annotations

import os
import select
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..waiting import Waiter

NOT_RUN = 127
_OUTPUT_MAX = 65536
# The seconds that testparm may take. ctdbd's recovery check gives up after 5 and lets the recovery pass.
TESTPARM_SECONDS = 10.0
_PNN_SECONDS = 1.0


def testparm() -> Command:
    """Start to ask Samba for the netbios name."""
    return Command(["testparm", "-s", "--parameter-name=netbios name"], TESTPARM_SECONDS)


class Command:
    """A command that runs for at most so many seconds, started at once."""

    def __init__(self, argv: list[str], seconds: float) -> None:
        self.argv = argv
        self._deadline = time.monotonic() + seconds
        self._out, out = os.pipe()
        self._err, err = os.pipe()
        self._pid = os.fork()
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
            # Later than output() gives up, so that a late command is distinguished from a failed one.
            signal.setitimer(signal.ITIMER_REAL, seconds + 1)
            os.execvp(self.argv[0], self.argv)
        except OSError as error:
            os.write(2, (error.strerror or "").encode())
        finally:
            os._exit(NOT_RUN)

    def output(self, waiter: Waiter) -> tuple[int, str, str]:
        """Wait for its end: exit status (negative: the signal that ended it; NOT_RUN), stdout, stderr.

        Raises TimeoutError when its time is over, Stopped.
        """
        texts = {self._out: b"", self._err: b""}
        reading = {self._out: select.POLLIN, self._err: select.POLLIN}
        try:
            while reading and max(map(len, texts.values())) <= _OUTPUT_MAX:
                for ready in waiter.wait(reading, self._deadline):
                    chunk = os.read(ready, _OUTPUT_MAX)
                    texts[ready] += chunk
                    if not chunk:
                        del reading[ready]
        finally:
            os.close(self._out)
            os.close(self._err)
            if reading:
                os.kill(self._pid, signal.SIGKILL)
            _, status = os.waitpid(self._pid, 0)
        out, err = (text.decode("utf-8", "backslashreplace") for text in texts.values())
        return os.waitstatus_to_exitcode(status), out, err


class NodeNumber:
    """The number that CTDB gives this node (its PNN), asked of CTDB from now on."""

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter
        self._command = Command(["ctdb", "pnn"], _PNN_SECONDS)

    def __call__(self) -> int | None:
        """Wait for the answer; None if there is none. Raises Stopped."""
        try:
            status, out, _ = self._command.output(self._waiter)
        except TimeoutError:
            return None
        number = out.strip()
        return int(number) if status == 0 and number.isdecimal() else None
