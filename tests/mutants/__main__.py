# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Change the program in small ways, one at a time, and expect that a test fails each time.

Results are kept in dist/mutants: an interrupted run continues where it stopped, and a later run repeats only what
depends on changed files. Exit status: 0 each mutant is killed or in survivors.txt; 1 others survive.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List

from tests.support import TREE

from . import guards
from .operators import Mutant, mutants
from .survivors import LISTED
from .worker import Worker

RESULTS = TREE / "dist" / "mutants"


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--module", default="", help="only modules with this in their paths")
    parser.add_argument("--jobs", type=int, default=2, help="modules at a time")
    parser.add_argument("--quick", action="store_true", help="only the unit tests with the module's name")
    options = parser.parse_args()
    names = guards.modules(options.module)
    if not names:
        parser.error(f"no such module: {options.module}; there are {', '.join(guards.modules())}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    # Each module gets a new process, which imports the tests' own code as it is at that moment.
    with multiprocessing.Pool(options.jobs, _end_in_order, maxtasksperchild=1) as pool:
        return max(pool.starmap(_module, [(name, options.quick) for name in names], chunksize=1))


def _end_in_order() -> None:
    """Make a worker, when it is ended, remove its copy and end the processes that it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _module(module: str, quick: bool) -> int:
    """Try all mutants of a module and print the survivors; return 1 if one is not in the list, or not known."""
    steps = guards.quick(module)[: 1 if quick else None]
    memory = _Memory(module, steps)
    found = mutants(module, (guards.PACKAGE / module).read_text())
    with Worker(Path(tempfile.mkdtemp(prefix="mutants-"))) as worker:
        missing = [mutant for mutant in found if memory.killer(mutant) is None]
        timed = list(zip(steps, worker.sound(steps))) if missing else []
        for mutant in missing:
            killer = worker.killer(mutant, timed)
            if killer is None and not quick and mutant.name not in LISTED:
                killer = worker.on_etcd(mutant)
            memory.add(mutant, killer)
    unknown = sum(memory.killer(mutant) is None for mutant in found)
    survivors = [mutant for mutant in found if memory.killer(mutant) is False]
    listed = [mutant for mutant in survivors if mutant.name in LISTED]
    rest = [mutant for mutant in survivors if mutant.name not in LISTED]
    lines = [f"survived: {mutant.name}   (line {mutant.line})" for mutant in rest]
    lines += [f"killed, but in survivors.txt: {m.name}" for m in found if m.name in LISTED and m not in listed]
    if unknown:
        lines.append(f"{module}: {unknown} not known, since files have changed meanwhile: run it again")
    killed = len(found) - len(survivors) - unknown
    share = 100 * killed / max(1, len(found) - len(listed))
    lines.append(
        f"{module}: {killed} of {len(found)} killed, {len(listed)} survive for a reason that is listed, {len(rest)}"
        f" without one: {share:.0f} %"
    )
    print("\n".join(lines), flush=True)
    return int(bool(rest or unknown))


class _Memory:
    """The results of earlier runs for a module's mutants. A killed mutant stays known for as long as its function and
    the test that failed are unchanged; a survivor stays known for as long as all tests are unchanged."""

    def __init__(self, module: str, steps: List[List[str]]) -> None:
        self._path = RESULTS / f"{module.replace('/', '.')}.jsonl"
        self._tests = _digest(path for step in steps for test in step for path in _files(test))
        self._known: Dict[str, Dict[str, Any]] = {}
        if self._path.exists():
            for line in self._path.read_text().splitlines():
                known = json.loads(line)
                self._known[known["key"]] = known

    def _key(self, mutant: Mutant) -> str:
        """Return a key for the mutant in its context: its name, and its function without this change."""
        return hashlib.sha256(f"{mutant.whole}\n{mutant.name}".encode()).hexdigest()[:20]

    def killer(self, mutant: Mutant) -> Any:
        """Return the test that killed it, or False if it survived; None if that is not known for the current files."""
        known = self._known.get(self._key(mutant))
        if known is None:
            return None
        if known["killer"] is None:
            return False if known["tests"] == self._tests else None
        return known["killer"] or "?" if _text_of(known["killer"]) == known["test"] else None

    def add(self, mutant: Mutant, killer: Any) -> None:
        key = self._key(mutant)
        self._known[key] = {
            "key": key,
            "mutant": mutant.name,
            "killer": killer,
            "tests": self._tests,
            "test": _text_of(killer or ""),
        }
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(self._known[key]) + "\n")


def _files(test: str) -> List[Path]:
    path = TREE / test
    return sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.is_file() else []


def _text_of(test: str) -> str:
    """Return a digest of the text of one test, by its name as pytest prints it; an empty one if it is not found."""
    path, _, name = test.partition("::")
    name = name.partition("[")[0]
    if not name or not (TREE / path).is_file():
        return ""
    found = re.search(rf"^def {name}\(.*?(?=^\S|\Z)", (TREE / path).read_text(), re.MULTILINE | re.DOTALL)
    return hashlib.sha256(found[0].encode()).hexdigest()[:20] if found else ""


def _digest(paths: Any) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:20]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
