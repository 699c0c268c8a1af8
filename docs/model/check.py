# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Check the models with Spin: every state within the bounds below, and that each sabotage is found.

Exit status: 0 all is well; 1 a model has a state that breaks a property, or a sabotage was not found; 2 a check did not
come to its end (Spin or a C compiler is missing, no more memory).
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
# In MB, for each of the two checks that run at one time.
MEMORY = 2000
# The last one: what helper B has forsaken for another one.
NAMES = ("A", "B", "A'", "B's first lease")
HEAD = f"{'model':5} {'what':62} {'states':>10} {'depth':>5} {'MB':>5} {'s':>5}"


class Failed(Exception):
    """A check did not come to its end."""


@dataclass(frozen=True)
class Check:
    """A model with the values of its parameters; `quick` is part of "make check"."""

    model: str
    what: str
    values: str
    quick: bool = False


@dataclass(frozen=True)
class Sabotage:
    """The values that take a rule away, and what must break then."""

    model: str
    values: str
    breaks: str


CHECKS = (
    Check("v3", "two nodes, all faults, TTL 4", "HELPERS=2", quick=True),
    Check("v3", "two helpers of one node, all faults, TTL 4", "HELPERS=2 B=2", quick=True),
    Check("v3", "three helpers, no late requests, TTL 3", "LATE=0 TTL=3", quick=True),
    Check("v3", "three helpers, no late requests, TTL 4", "LATE=0"),
    Check("v3", "two nodes, an etcd on each", "HELPERS=2 SHARED=0", quick=True),
    Check("v2", "two nodes, ours and Samba's, all faults, TTL 3", "NODES=2 TTL=3", quick=True),
    Check("v2", "two nodes, ours and Samba's, all faults, TTL 4", "NODES=2"),
)

TWO_HOLDERS, NOT_ITS_OWN, LEFT_BEHIND = "two holders", "not its own is deleted", "its key is left behind"

SABOTAGES = {
    "no fence": Sabotage("v3", "HELPERS=2 FENCE=0", TWO_HOLDERS),
    "counted from receipt": Sabotage("v3", "HELPERS=2 BEFORE_REQUEST=0", TWO_HOLDERS),
    "no look at the key after the renewal": Sabotage("v3", "HELPERS=2 LOOK=0", TWO_HOLDERS),
    "no term rule": Sabotage("v3", "HELPERS=2 TERM=0", TWO_HOLDERS),
    "no re-check after arming": Sabotage("v3", "HELPERS=2 RECHECK=0", TWO_HOLDERS),
    "no guard while arming again": Sabotage("v3", "HELPERS=2 GUARD=0", TWO_HOLDERS),
    "release without one's own lease": Sabotage("v3", "HELPERS=2 OWN_LEASE=0", NOT_ITS_OWN),
    "eviction without compare": Sabotage("v3", "LATE=0 TTL=3 COMPARE=0", TWO_HOLDERS),
    "eviction by pid alone": Sabotage("v3", "HELPERS=2 NONCE=0", TWO_HOLDERS),
    "a retry with a new lease ID": Sabotage("v3", "HELPERS=2 OWN_ID=0", LEFT_BEHIND),
    "a margin smaller than the clocks' difference": Sabotage("v3", "HELPERS=2 MARGIN=0", TWO_HOLDERS),
    "a host that is not shared": Sabotage("v3", "HELPERS=2 SHARED=0 CHECK=0", TWO_HOLDERS),
    "v2 refreshed by a plain write": Sabotage("v2", "NODES=2 COMPARE=0", TWO_HOLDERS),
    "a v2 contender's key left behind": Sabotage("v2", "NODES=2 CLEAN=0", LEFT_BEHIND),
    "members that differ in serving v2": Sabotage("v2", "NODES=2 AGREE=0", TWO_HOLDERS),
    "v2 comes back unseen": Sabotage("v2", "NODES=2 BACK=0", TWO_HOLDERS),
    "Samba's helper too soon after v2 is back": Sabotage("v2", "NODES=2 WAIT=0", TWO_HOLDERS),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smaller part, under two minutes")
    parser.add_argument("--sabotage", choices=["", "all", *SABOTAGES], default="", help="take away a rule of the lock")
    options = parser.parse_args()
    for program in ("spin", "gcc"):
        if not shutil.which(program):
            print(f"{program} is missing: run as root: .ci/install-deps check", file=sys.stderr)
            return 2
    try:
        if options.sabotage:
            return sabotage(list(SABOTAGES) if options.sabotage == "all" else [options.sabotage])
        return check([part for part in CHECKS if part.quick or not options.quick])
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 2


@dataclass
class Outcome:
    states: int
    depth: int
    megabytes: float
    seconds: float
    story: list[str]
    broken: str = ""


def check(parts: list[Check]) -> int:
    """All states of these; prints a line for each, and the story of what is broken."""
    print(HEAD, flush=True)
    bad = 0
    with ThreadPoolExecutor(2) as pool:
        for part, outcome in zip(parts, pool.map(lambda part: explore(part.model, part.values), parts)):
            print(
                f"{part.model:5} {part.what:62} {outcome.states:10} {outcome.depth:5} {outcome.megabytes:5.0f}"
                f" {outcome.seconds:5.1f}",
                flush=True,
            )
            if outcome.broken:
                bad = 1
                print(f"BROKEN: {outcome.broken}", *outcome.story, sep="\n    ", flush=True)
    return bad


def sabotage(names: list[str]) -> int:
    """Each must break what it should; prints the shortest story of it."""
    missed = []
    with ThreadPoolExecutor(2) as pool:
        outcomes = pool.map(lambda name: explore(SABOTAGES[name].model, SABOTAGES[name].values), names)
        for name, outcome in zip(names, outcomes):
            found = outcome.broken == SABOTAGES[name].breaks
            print(f"--- {name}: {outcome.broken or 'NOT FOUND'} ({outcome.states} states, {outcome.seconds:.1f} s)")
            print(*outcome.story, sep="\n", flush=True)
            if not found:
                missed.append(name)
    print("not found: " + ", ".join(missed) if missed else "every sabotage was found")
    return int(bool(missed))


def explore(model: str, values: str) -> Outcome:
    """All states of a model, nearest first, up to the first that breaks a property."""
    defines = [f"-D{value}" for value in values.split()]
    with tempfile.TemporaryDirectory(prefix="ctdb-etcd-model.") as directory:
        # Spin leaves its files where it runs.
        shutil.copy(HERE / f"{model}.pml", directory)
        run(["spin", *defines, "-a", f"{model}.pml"], directory)
        options = ["-O2", "-w", "-DSAFETY", "-DBFS", "-DNOREDUCE", f"-DMEMLIM={MEMORY}"]
        run(["gcc", *options, "-o", "pan", "pan.c"], directory)
        began = time.monotonic()
        text = run(["./pan", "-w24"], directory)
        seconds = time.monotonic() - began
        found = re.search(r"depth reached (\d+), errors: (\d+)\s+(\d+) states, stored", text)
        memory = re.search(r"([\d.]+)\s+total actual memory usage", text)
        if not found or not memory or "Search not completed" in text and found[2] == "0":
            raise Failed(f"{model} with {values}: the search did not come to its end:\n{text}")
        outcome = Outcome(int(found[3]), int(found[1]), float(memory[1]), seconds, [])
        if found[2] != "0":
            trail = run(["spin", *defines, "-t", f"{model}.pml"], directory)
            broken = re.search("BROKEN: (.*)", trail)
            outcome.broken = broken[1] if broken else f"the model itself:\n{trail}"
            outcome.story = story(trail)
        return outcome


def story(trail: str) -> list[str]:
    """What a model printed on the way to its last state, with the time, in ticks, and the helpers' names."""
    lines, now = [], 0
    for line in map(str.strip, trail.splitlines()):
        if line.startswith(("BROKEN:", "spin:")):
            break
        if line == "tick":
            now += 1
        elif line:
            lines.append(f"  {now:3}  " + re.sub("#([0-9])", lambda digit: NAMES[int(digit[1])], line))
    return lines


def run(command: list[str], directory: str) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode and command[0] in ("spin", "gcc"):
        raise Failed(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
