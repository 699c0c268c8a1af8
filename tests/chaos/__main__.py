# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Run nodes under faults in a private namespace, then check and show the record.

Exit status: 0 the checker found nothing, 1 the checker found a violation, 2 the run itself failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Optional

from tests.support import TREE
from tests.support import release
from tests.support.namespace import Namespace

from . import groups, plot, report
from .checker import SOMEBODY_HOLDS, check
from .inside import RECORD, Options
from .record import SAMBA, Record
from .sabotage import SABOTAGES

# No mix combines v3 alone with 2 or samba, because they do not exclude each other.
MIXES = ["v3,v3,v3,v3,v3", "auto,auto,auto,auto,auto", "auto,v3,v3,auto,auto", "2,2,2,2,2", "auto,2,2,auto,auto"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long there are faults")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 16))
    parser.add_argument("--mix", default="", help="each node's helper, v3, 2, auto or samba (by the seed)")
    parser.add_argument("--gap", type=float, default=0.08, help="seconds from fault to fault, on average")
    parser.add_argument("--output", help="a directory for record.json, report.txt, timeline.svg, also if all is well")
    parser.add_argument("--ttl", type=int, choices=[3, 4, 9, 15], default=0, help="lock_ttl (by the seed)")
    parser.add_argument("--faults", default="", help="only kinds of faults with this in their names")
    parser.add_argument("--sabotage", choices=["", "all", *SABOTAGES], default="", help="break the program first")
    parser.add_argument("--judge", metavar="FILE", help="judge a record.json of an earlier run again, without a run")
    options = parser.parse_args()
    if options.judge:
        return _judge(Path(options.judge))
    if options.sabotage == "all":
        return _all_sabotages(options)
    return one_run(options)


def _all_sabotages(options: argparse.Namespace) -> int:
    """Run every sabotage; return the exit status: 0 if the checker finds each of them, else 1."""
    missed = []
    for name, broken in SABOTAGES.items():
        if _needs_v2(broken.mix) and not release.serves_v2():
            print(f"--- not on etcd {release.version()}, which has no v2 API: {name}")
            continue
        print(f"--- {name}", flush=True)
        if one_run(argparse.Namespace(**{**vars(options), "sabotage": name})) != 1:
            missed.append(name)
    print("not found: " + ", ".join(missed) if missed else "every sabotage was found")
    return int(bool(missed))


def one_run(options: argparse.Namespace) -> int:
    """Run once, write the report and the picture, and return the exit status."""
    broken = SABOTAGES.get(options.sabotage)
    mixes = [mix for mix in MIXES if release.serves_v2() or not _needs_v2(mix)]
    mix = options.mix or (broken.mix if broken else random.Random(options.seed).choice(mixes))
    if _needs_v2(mix) and not release.serves_v2():
        print(f"etcd {release.version()} has no v2 API for {mix}: choose v3 and auto, or an etcd before 3.6")
        return 2
    name = f"ctdb-etcd-chaos-{os.getpid()}"
    chosen = (options.seconds, options.seed, mix.split(","), options.gap, name)
    record = _run(Options(*chosen, options.ttl, options.faults, options.sabotage))
    if record is None:
        return 2
    violations = check(record)
    words = report.text(record, violations)
    print(words, flush=True)
    # No sabotage keeps every node from holding, but an overloaded machine does, so this violation proves nothing.
    bad = any(not (violation.apart or broken and violation.rule == SOMEBODY_HOLDS) for violation in violations)
    if not bad and not (record.faults and any(operation.status[:1] == "0" for operation in record.operations)):
        print("nothing was tried: without a fault, or without a holder")
        return 2
    output = options.output or (tempfile.mkdtemp(prefix=f"chaos-{options.seed}-") if bad and not broken else None)
    if output:
        Path(output).mkdir(exist_ok=True)
        record.save(Path(output) / "record.json")
        (Path(output) / "report.txt").write_text(words + "\n")
        (Path(output) / "timeline.svg").write_text(plot.svg(record, violations))
    if bad and not broken:
        print(f"look at {output}/timeline.svg")
    return int(bad)


def _judge(saved: Path) -> int:
    """Judge a saved record with the current checker, and rewrite the report and the picture next to it."""
    record = Record.load(saved)
    violations = check(record)
    words = report.text(record, violations)
    print(words)
    saved.with_name("report.txt").write_text(words + "\n")
    saved.with_name("timeline.svg").write_text(plot.svg(record, violations))
    return int(any(not violation.apart for violation in violations))


def _needs_v2(mix: str) -> bool:
    return bool({"2", SAMBA} & set(mix.split(",")))


def _run(options: Options) -> Optional[Record]:
    """Run it in its own namespace; return None if the run failed."""
    # Started first, so that it ends last.
    janitor = groups.janitor(options.groups)
    namespace = Namespace()
    try:
        env = {"PYTHONPATH": str(TREE), "PYTHONDONTWRITEBYTECODE": "1", "ETCD": release.program()}
        # timeout(1) runs inside the namespace: like the rest, it must not outlive this process.
        limit = str(options.seconds + 150)
        argv = ["timeout", "-k", "1", limit, sys.executable, "-m", "tests.chaos.inside", json.dumps(asdict(options))]
        # A file, not a pipe: a process left inside would keep a pipe open.
        with tempfile.TemporaryFile() as output, namespace.popen(*argv, env=env, output=output) as inside:
            inside.wait()
            output.seek(0)
            sys.stdout.write(output.read().decode(errors="replace"))
        return Record.load(namespace.outside(RECORD)) if inside.returncode == 0 else None
    finally:
        namespace.close()
        assert janitor.stdin
        janitor.stdin.close()
        janitor.wait(20)


if __name__ == "__main__":
    sys.exit(main())
