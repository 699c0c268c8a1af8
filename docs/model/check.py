# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Check every state of the models within the bounds below with Spin, or check that it finds each sabotage.

Exit status: 0 all is well; 1 a property is broken, or a sabotage was not found; 2 a check did not finish (Spin or a C
compiler is missing, or there is too little memory).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
# MB for a check. The longest check needs most of it; together with any other check, 4 GB are enough.
MEMORY = 2800
AT_ONE_TIME = 2
# The last name: the lease that helper B has replaced with another one.
NAMES = ("A", "B", "A'", "B's first lease")


class Failed(Exception):
    """A check did not finish."""


@dataclass(frozen=True)
class Check:
    """A model with the values of its parameters; `quick` is part of "make check"."""

    model: str
    what: str
    values: str
    quick: bool = True


@dataclass(frozen=True)
class Sabotage:
    """The values that take a rule away, and the property that must break then."""

    model: str
    values: str
    breaks: str


# The longest come first.
CHECKS = (
    Check("v3", "three helpers, late requests executed once", "HELPERS=3 TTL=3 LATE=1", quick=False),
    Check("v2", "three nodes, no late requests", "NODES=3 TTL=3 LATE=0", quick=False),
    Check("v3", "two machines that sleep, all faults", "HELPERS=2 TTL=3 SLEEP=1", quick=False),
    Check("v2", "two nodes, all faults", "NODES=2 TTL=4", quick=False),
    Check("v3", "three helpers, no late requests", "HELPERS=3 TTL=4 LATE=0", quick=False),
    Check("v2", "two nodes, after the last fault", "NODES=2 TTL=3 LATE=1 CALM=1", quick=False),
    Check("v3", "three helpers, after the last fault", "HELPERS=3 TTL=3 LATE=0 CALM=1", quick=False),
    Check("v2", "two nodes, all faults", "NODES=2 TTL=3"),
    Check("v3", "two nodes, all faults", "HELPERS=2 TTL=4"),
    Check("v3", "two helpers of one node, all faults", "HELPERS=2 TTL=4 B=2"),
    Check("v3", "two nodes, after the last fault", "HELPERS=2 TTL=3 LATE=1 CALM=1"),
    Check("v3", "two helpers of one node, after the last fault", "HELPERS=2 TTL=3 LATE=1 CALM=1 B=2", quick=False),
    Check("v3", "three helpers, no late requests", "HELPERS=3 TTL=3 LATE=0"),
    Check("v2", "two nodes, no late requests, after the last fault", "NODES=2 TTL=3 LATE=0 CALM=1"),
    Check("v3", "two machines that sleep, no late requests", "HELPERS=2 TTL=3 LATE=0 SLEEP=1"),
    Check("v3", "three helpers, one of them undisturbed", "HELPERS=3 TTL=3 UNDISTURBED=1"),
    Check("v3", "two nodes, an etcd on each", "HELPERS=2 TTL=4 SHARED=0"),
)

TWO_HOLDERS = "two holders"
LEFT_BEHIND = "its key is left behind"

SABOTAGES = {
    "no fence": Sabotage("v3", "HELPERS=2 FENCE=0", TWO_HOLDERS),
    "counted from receipt": Sabotage("v3", "HELPERS=2 BEFORE_REQUEST=0", TWO_HOLDERS),
    "no look at the key after the renewal": Sabotage("v3", "HELPERS=2 LOOK=0", TWO_HOLDERS),
    "no term rule": Sabotage("v3", "HELPERS=2 TERM=0", TWO_HOLDERS),
    "a renewal in another term is a loss": Sabotage(
        "v3", "HELPERS=2 UNDISTURBED=1 AGAIN=0", "an undisturbed holder loses the lock"
    ),
    "no re-check after arming": Sabotage("v3", "HELPERS=2 RECHECK=0", TWO_HOLDERS),
    "no guard while arming again": Sabotage("v3", "HELPERS=2 GUARD=0", TWO_HOLDERS),
    "a machine's sleep does not count": Sabotage("v3", "HELPERS=2 TTL=3 LATE=0 SLEEP=1 BOOTTIME=0", TWO_HOLDERS),
    "a margin smaller than the clocks' difference": Sabotage("v3", "HELPERS=2 MARGIN=0", TWO_HOLDERS),
    "given back before ctdbd knows": Sabotage("v3", "HELPERS=2 STDOUT_FIRST=0", TWO_HOLDERS),
    "release after expiry without one's own lease": Sabotage(
        "v3", "HELPERS=2 LATE=0 OWN_LEASE=0", "what is not its own is deleted"
    ),
    "eviction without compare": Sabotage("v3", "HELPERS=3 TTL=3 LATE=0 COMPARE=0", TWO_HOLDERS),
    "eviction by pid alone": Sabotage("v3", "HELPERS=2 NONCE=0", TWO_HOLDERS),
    "a retry with a new lease ID": Sabotage("v3", "HELPERS=2 OWN_ID=0", LEFT_BEHIND),
    "a key without a lease": Sabotage("v3", "HELPERS=2 TTL=3 LATE=0 CALM=1 LEASED=0", "nobody holds again"),
    "a host that is not shared": Sabotage("v3", "HELPERS=2 SHARED=0 CHECK=0", TWO_HOLDERS),
    "v2 refreshed by a plain write": Sabotage("v2", "NODES=2 COMPARE=0", TWO_HOLDERS),
    "v2 renewed without the key's index": Sabotage("v2", "NODES=2 INDEX=0", TWO_HOLDERS),
    "a v2 contender's key left behind": Sabotage("v2", "NODES=2 CLEAN=0", LEFT_BEHIND),
    "members that differ in serving v2": Sabotage("v2", "NODES=2 AGREE=0", TWO_HOLDERS),
    "v2 comes back unseen": Sabotage("v2", "NODES=2 BACK=0", TWO_HOLDERS),
    "Samba's helper started at once when v2 is back": Sabotage("v2", "NODES=2 WAIT=0", TWO_HOLDERS),
    "Samba's helper reaches etcd too late": Sabotage("v2", "NODES=2 TIMELY=0", TWO_HOLDERS),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the part that belongs to make check")
    parser.add_argument("--sabotage", choices=["", "all", *SABOTAGES], default="", help="take away a rule of the lock")
    options = parser.parse_args()
    for program in ("spin", "gcc"):
        if not shutil.which(program):
            print(f"{program} is missing: run as root: .ci/install-deps model", file=sys.stderr)
            return 2
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _end)
    explorer = Explorer()
    pool = ThreadPoolExecutor(AT_ONE_TIME)
    try:
        if options.sabotage:
            return sabotage(list(SABOTAGES) if options.sabotage == "all" else [options.sabotage], explorer, pool)
        return check([part for part in CHECKS if part.quick or not options.quick], explorer, pool)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 2
    finally:
        explorer.stop()
        pool.shutdown(cancel_futures=True)


def _end(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


@dataclass
class Outcome:
    """Spin's result: the number of states, the depth of the farthest, and the broken property with the steps to it."""

    states: int
    depth: int
    megabytes: float
    seconds: float
    broken: str = ""
    story: list[str] = field(default_factory=list)


class Explorer:
    """Runs Spin, in a temporary directory for each model. `stop` ends all runs, from another thread."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                # Kill the group, because the compiler has children. The process may just have ended.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def explore(self, model: str, values: str) -> Outcome:
        """Explore all states of a model, up to the first that breaks a property: the nearest one, unless the property
        is about whole runs. Raises Failed."""
        defines = [f"-D{value}" for value in values.split()]
        # A property of whole runs needs a depth-first search, which finds cycles.
        runs = "CALM=1" in values.split()
        with tempfile.TemporaryDirectory(prefix="ctdb-etcd-model.") as directory:
            # Spin writes its files into the directory in which it runs.
            shutil.copy(HERE / f"{model}.pml", directory)
            self._run(directory, "spin", *defines, "-a", f"{model}.pml")
            search = ["-DCOLLAPSE"] if runs else ["-DSAFETY", "-DBFS"]
            options = ["-O2", "-w", "-DNOREDUCE", f"-DMEMLIM={MEMORY}", *search]
            self._run(directory, "gcc", *options, "-o", "pan", "pan.c")
            began = time.monotonic()
            text = self._run(directory, "./pan", "-w24", *(["-a", "-m1000000"] if runs else []))
            seconds = time.monotonic() - began
            found = re.search(r"depth reached (\d+), errors: (\d+)\s+(\d+) states, stored", text)
            memory = re.search(r"([\d.]+)\s+total actual memory usage", text)
            # Spin reports this if memory or search depth is used up. After an error, the search is always incomplete.
            incomplete = "Search not completed" in text or "max search depth too small" in text
            if not found or not memory or incomplete and found[2] == "0":
                raise Failed(f"{model} {values}: the search did not come to its end:\n{text}")
            outcome = Outcome(int(found[3]), int(found[1]), float(memory[1]), seconds)
            if found[2] != "0":
                trail = self._run(directory, "spin", *defines, "-t", f"{model}.pml")
                broken = re.search("BROKEN: (.*)", trail)
                unnamed = "nobody holds again" if "acceptance cycle" in text else f"the model itself:\n{text}{trail}"
                outcome.broken = broken[1] if broken else unnamed
                outcome.story = story(trail)
            return outcome

    def _run(self, directory: str, *command: str) -> str:
        with self._lock:
            if self._stopped:
                raise Failed("stopped")
            process = subprocess.Popen(
                command,
                cwd=directory,
                env={**os.environ, "TMPDIR": directory},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
        try:
            text, _ = process.communicate()
        finally:
            with self._lock:
                self._running.discard(process)
        # The exit status of pan is only about its options.
        if process.returncode < 0 or process.returncode and command[0] in ("spin", "gcc"):
            raise Failed(f"{' '.join(command)}: status {process.returncode}: {text}")
        return text


def story(trail: str) -> list[str]:
    """Return the model's output on the way to its last state, with the time in ticks and the helpers' names."""
    lines, now = [], 0
    for line in map(str.strip, trail.splitlines()):
        if line.startswith(("BROKEN:", "spin:")):
            break
        if line == "tick":
            now += 1
        elif "START OF CYCLE" in line:
            lines.append(f"  {now:3}  ... and nothing but time passes, for ever")
            break
        elif line and not line.startswith(("ltl ", "Never claim")):
            lines.append(f"  {now:3}  " + re.sub("#([0-9])", lambda digit: NAMES[int(digit[1])], line))
    return lines


def check(parts: list[Check], explorer: Explorer, pool: ThreadPoolExecutor) -> int:
    """Explore all states of these checks; print a line for each, and the steps to a broken property."""
    print(f"{'':2} {'what':50} {'bounds':34} {'states':>9} {'depth':>6} {'MB':>5} {'s':>5}", flush=True)
    began, states, bad = time.monotonic(), 0, False
    for part, outcome in zip(parts, pool.map(lambda part: explorer.explore(part.model, part.values), parts)):
        figures = f"{outcome.states:9} {outcome.depth:6} {outcome.megabytes:5.0f} {outcome.seconds:5.1f}"
        print(f"{part.model} {part.what:50} {part.values:34} {figures}", flush=True)
        states += outcome.states
        if outcome.broken:
            bad = True
            print(f"BROKEN: {outcome.broken}", *outcome.story, sep="\n", flush=True)
    print(f"{states} states in {time.monotonic() - began:.0f} s, {AT_ONE_TIME} checks at a time")
    return int(bad)


def sabotage(names: list[str], explorer: Explorer, pool: ThreadPoolExecutor) -> int:
    """Check that each sabotage breaks its property; print the steps to it."""
    missed = []
    outcomes = pool.map(lambda name: explorer.explore(SABOTAGES[name].model, SABOTAGES[name].values), names)
    for name, outcome in zip(names, outcomes):
        print(f"--- {name}: {outcome.broken or 'NOT FOUND'} ({outcome.states} states, {outcome.seconds:.1f} s)")
        print(*outcome.story, sep="\n", flush=True)
        if outcome.broken != SABOTAGES[name].breaks:
            missed.append(name)
    print("not found: " + ", ".join(missed) if missed else "every sabotage was found")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
