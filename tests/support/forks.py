# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Child processes of a test, for parts of the program that change the state of the whole process.

Each child ends after 30 s at the latest, whatever happens to the test.
"""

from __future__ import annotations

import os
import signal
from typing import Callable

_LONGEST = 30


def fork(action: Callable[[], object]) -> int:
    """Start a child that runs `action` and exits; return its pid. The caller must reap it."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(_LONGEST)
            action()
        finally:
            os._exit(0)
    return pid


def in_child(action: Callable[[], object]) -> str:
    """Run `action` in a child; return its result as text, or an empty string if it raises."""
    reader, writer = os.pipe()
    pid = fork(lambda: os.write(writer, str(action()).encode()))
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        result = file.read()
    os.waitpid(pid, 0)
    return result
