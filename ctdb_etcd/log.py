# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Lines for CTDB's log, on stderr.

ctdbd may be gone while another process keeps its log pipe open: a write would then block for ever. So a line
that does not fit into the pipe at this moment is dropped; holding and releasing the lock never wait for the log.
"""

from __future__ import annotations

import os
import select

from .waiting import ready

# A pipe that polls as writable takes this much without blocking (pipe(7): PIPE_BUF).
_LINE_MAX = 4096

ERROR, INFO, DEBUG, WIRE = range(4)


class Log:
    """Writes what the verbosity (0 to 3, the number of -v) lets through."""

    def __init__(self, verbosity: int = 0) -> None:
        self.verbosity = verbosity
        self._lock = ""

    def about(self, lock: str) -> None:
        """Name this lock in every line from now on: nodes of several clusters may log to one place."""
        self._lock = lock

    def error(self, text: str) -> None:
        """An error: an operator must see it."""
        self._write(ERROR, text)

    def info(self, text: str) -> None:
        """-v: what happened to the lock."""
        self._write(INFO, text)

    def debug(self, text: str) -> None:
        """-vv: every request, with the endpoint and the time it took."""
        self._write(DEBUG, text)

    def wire(self, text: str) -> None:
        """-vvv: headers and bodies."""
        self._write(WIRE, text)

    def _write(self, level: int, text: str) -> None:
        if level > self.verbosity:
            return
        if self._lock not in text:
            text = f"{self._lock}: {text}"
        line = f"ctdb_etcd_lock: {printable(text)}".encode("utf-8", "backslashreplace")[: _LINE_MAX - 1] + b"\n"
        try:
            if ready({2: select.POLLOUT}, 0):
                os.write(2, line)
        except OSError:
            pass


def printable(text: str) -> str:
    """The text without characters that forge lines or move a terminal's cursor."""
    return "".join(char if char.isprintable() else " " for char in text)
