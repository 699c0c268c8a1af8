# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A copy of the tree in which mutants are tried, one after another.

The tests run in a fork of this process, which has already imported pytest: that saves most of their time. A process
that a mutant leaves running becomes a child of this process, which ends it.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import resource
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import List, Optional, Tuple

from tests.support import TREE

from . import guards
from .operators import Mutant

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER in linux/prctl.h
# Seconds of CPU time and of real time that the tests may take beyond four times their CPU time without a mutant.
_CPU, _CLOCK = 5, 60
_MEMORY = 4 << 30
_NOT = shutil.ignore_patterns(".git", "__pycache__", "dist", ".hypothesis", ".mypy_cache")


class Worker:
    """A context manager that creates the copy and removes it at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tree = folder / "tree"
        self._output = folder / "output"
        self._time = int(time.time()) - 1_000_000

    def __enter__(self) -> Worker:
        shutil.copytree(TREE, self._tree, ignore=_NOT, symlinks=True)
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
        for name in ("pytest", "configobj", "ssl", "json", "etcd", "hypothesis", "_pytest.assertion.rewrite"):
            try:
                importlib.import_module(name)
            except ImportError:
                pass
        return self

    def __exit__(self, *_: object) -> None:
        self._end_children()
        shutil.rmtree(self._folder, ignore_errors=True)

    def sound(self, steps: List[List[str]]) -> List[float]:
        """Run the tests without a mutant; return the CPU seconds of each step. Raises SystemExit if a test fails."""
        took = []
        for tests in steps:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            failed = self._run(tests, None)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if failed is not None:
                output = self._output.read_text(errors="replace")
                raise SystemExit(f"mutants: these tests fail without one: {' '.join(tests)}\n{output}")
            took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return took

    def killer(self, mutant: Mutant, steps: List[Tuple[List[str], float]]) -> Optional[str]:
        """Return the test or the reason that fails the run, as _run(); None if the mutant survives all steps.

        Each step has its tests and their usual time.
        """
        path = self._tree / "ctdb_etcd" / mutant.module
        source = path.read_bytes()
        path.write_bytes(mutant.applied(source))
        # Python compares this time, in whole seconds, with that in the compiled file; mutants may come faster.
        self._time += 1
        os.utime(path, (self._time, self._time))
        try:
            for tests, usual in steps:
                killer = self._run(tests, usual)
                if killer is not None:
                    return killer
            return None
        finally:
            path.write_bytes(source)
            self._time += 1
            os.utime(path, (self._time, self._time))

    def on_etcd(self, mutant: Mutant) -> Optional[str]:
        """Like killer(), with the tests on etcd."""
        return self.killer(mutant, [(guards.slow(mutant.module), 300.0)])

    def _run(self, tests: List[str], usual: Optional[float]) -> Optional[str]:
        """Return the first test that fails, "" if it is not known, "time" if it takes too long; None if all pass."""
        pid = os.fork()
        if not pid:
            self._tests(tests, usual)
        end = time.monotonic() + (_CLOCK + 4 * usual if usual is not None else 600)
        try:
            while time.monotonic() < end:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    return self._result(status)
                time.sleep(0.005)
            return "time"
        finally:
            self._end_children()

    def _tests(self, tests: List[str], usual: Optional[float]) -> None:
        """Run the tests in the child. Does not return."""
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.chdir(self._tree)
            # Tests compile slowly: compiled files save half of the time.
            os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
            os.environ["TMPDIR"] = str(self._folder)
            if usual is not None:
                seconds = int(4 * usual) + _CPU
                resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
                resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            output = os.open(self._output, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            for fd, target in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
                os.dup2(fd, target)
            for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "ctdb_etcd")]:
                del sys.modules[name]
            sys.path[:] = [str(self._tree), *(path for path in sys.path if path not in ("", str(TREE)))]
            sys.dont_write_bytecode = False
            import pytest

            # Fuzz tests take long and find only what other tests find too. The plugins are not needed here.
            options = ["-x", "-q", "--no-header", "--tb=no", "-k", "not fuzz", "-p", "no:xdist"]
            options += ["-p", "no:rerunfailures"]
            code = int(pytest.main([*options, *tests]))
            sys.stdout.flush()
            os._exit(code)
        finally:
            os._exit(99)

    def _result(self, status: int) -> Optional[str]:
        if status == 0:
            return None
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
            return "time"
        found = re.search(r"^(?:FAILED|ERROR) (\S+)", self._output.read_text(errors="replace"), re.MULTILINE)
        return found[1] if found else ""

    @staticmethod
    def _end_children() -> None:
        """Kill all processes that were started and have not ended."""
        own = str(os.getpid())
        while True:
            children = []
            for stat in Path("/proc").glob("[0-9]*/stat"):
                try:
                    if stat.read_text(errors="replace").rpartition(")")[2].split()[1] == own:
                        children.append(int(stat.parent.name))
                except OSError:
                    pass
            if not children:
                return
            for pid in children:
                try:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                except (ProcessLookupError, ChildProcessError):
                    pass
