# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Records the branches taken in this process: a pytest plugin (-p tests.coverage.record), and the helper's start."""

from __future__ import annotations

import _thread
import os
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

import coverage

TREE = Path(__file__).resolve().parents[2]
FOLDER = TREE / "dist" / "coverage"


def start() -> Any:
    """Start and return a recorder, which the caller must stop."""
    recorder = coverage.Coverage(
        str(FOLDER / "data"), data_suffix=True, branch=True, source=[str(TREE / "ctdb_etcd")], config_file=False
    )
    # The pytest-xdist process that only distributes tests runs no code of the package.
    recorder.set_option("run:disable_warnings", ["no-data-collected"])
    recorder.start()
    begin, trace = _thread.start_new_thread, threading._trace_hook  # type: ignore[attr-defined]

    def begin_traced(function: Any, *arguments: Any) -> int:
        """Start a thread that is recorded, too, if the module threading does not start it."""

        def traced(*args: Any, **kwargs: Any) -> None:
            sys.settrace(trace)
            function(*args, **kwargs)

        return begin(traced, *arguments)

    setattr(_thread, "start_new_thread", begin_traced)
    return recorder


def become_helper() -> None:
    """Run the program of this tree with this process's arguments."""
    recorder = start()
    end = os._exit

    def end_recorded(status: int) -> NoReturn:
        recorder.stop()
        recorder.save()
        end(status)

    os._exit = end_recorded
    program = TREE / "ctdb_etcd_lock.py"
    sys.argv[0] = str(program)
    names = {"__name__": "__main__", "__file__": str(program)}
    exec(compile(program.read_text(), str(program), "exec"), names)


def pytest_configure(config: Any) -> None:
    """Start recording, in each process of pytest-xdist."""
    config.recorder = start()


def pytest_unconfigure(config: Any) -> None:
    """Stop recording and save the record."""
    config.recorder.stop()
    config.recorder.save()
