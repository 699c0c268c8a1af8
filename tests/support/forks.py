# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Parts of the program tried in a child of the test, where they may change what belongs to the whole process.

No child outlives its use by more than half a minute, whatever becomes of the test.
"""

from __future__ import annotations

import os
import signal
from typing import Callable

_LONGEST = 30


def fork(action: Callable[[], object]) -> int:
    """Start a child that does this and exits; its pid. The caller reaps it."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(_LONGEST)
            action()
        finally:
            os._exit(0)
    return pid


def in_child(action: Callable[[], object]) -> str:
    """The text of what this returns in a child; empty if it raises."""
    reader, writer = os.pipe()
    pid = fork(lambda: os.write(writer, str(action()).encode()))
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        result = file.read()
    os.waitpid(pid, 0)
    return result
