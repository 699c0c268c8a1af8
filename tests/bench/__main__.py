# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Measure, print the tables and, with an output directory, write results.md and results.svg."""

from __future__ import annotations

import argparse
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

from tests.support import release
from tests.support.etcd import Etcd
from tests.support.machine import Scratch

from . import clusters, crowds, holding, losses, plot, report, starts
from .figures import Figures
from .peers import BOTH, FCNTL, SAMBAS, V2, V3, V3_NAMED, Peers

PARTS = ("starts", "holding", "losses", "contenders", "endpoints", "clusters")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns, no takeovers: two minutes instead of ten")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part, or these")
    parser.add_argument("--output", help="the directory for the results; without one they are only printed")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("the clusters need root for namespaces of their own: run it with sudo", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    figures = Figures()
    figures.date = time.strftime("%Y-%m-%d", time.gmtime())
    figures.versions = _versions()
    begun = time.monotonic()
    try:
        for part in options.only or PARTS:
            print(f"{time.monotonic() - begun:5.0f} s  {part}", flush=True)
            MEASURE[part](figures, options.quick)
    except KeyboardInterrupt:
        print("interrupted; all is cleaned up", file=sys.stderr)
        return 130
    print(f"{time.monotonic() - begun:5.0f} s  done\n\n{report.short(figures)}\n\n{report.text(figures)}")
    if options.output:
        output = Path(options.output)
        output.mkdir(exist_ok=True)
        (output / "results.md").write_text(report.text(figures))
        (output / "results.svg").write_text(plot.svg(figures))
    return 0


def _starts(figures: Figures, quick: bool) -> None:
    with _etcds() as peers:
        starts.measure(peers.all(), 5 if quick else 25, figures)


def _holding(figures: Figures, quick: bool) -> None:
    with _etcds() as peers:
        holding.measure_memory(peers.all(), 5, figures)
    with _etcds() as peers:
        holding.measure_minute(peers, 15 if quick else 60, figures)


def _losses(figures: Figures, quick: bool) -> None:
    with _etcds() as peers:
        some = [peer for peer in peers.all() if peer.name in (V3, BOTH, V2, SAMBAS, FCNTL)]
        losses.measure(some, 1 if quick else 5, figures)


def _contenders(figures: Figures, quick: bool) -> None:
    with _etcds() as peers:
        some = [peer for peer in peers.all() if peer.name in (V3, V3_NAMED, SAMBAS, FCNTL)]
        crowds.measure_contenders(some, (3, 16) if quick else (3, 16, 64), 1 if quick else 3, figures)


def _endpoints(figures: Figures, quick: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="ctdb-etcd-bench-") as scratch:
        crowds.measure_try(Path(scratch), figures)
        crowds.measure_endpoints(Path(scratch), 5 if quick else 25, figures)


def _clusters(figures: Figures, quick: bool) -> None:
    with clusters.Bench() as bench:
        bench.measure_recoveries(4 if quick else 15, figures)
        if not quick:
            bench.measure_takeovers(2, figures)


MEASURE: dict[str, Callable[[Figures, bool], None]] = {
    "starts": _starts,
    "holding": _holding,
    "losses": _losses,
    "contenders": _contenders,
    "endpoints": _endpoints,
    "clusters": _clusters,
}


class _etcds:
    """An etcd with the v2 API (if its release has one), an etcd without it, and the peers on them."""

    def __enter__(self) -> Peers:
        self._scratch = Scratch()
        self._both, self._plain = Etcd(1, release.v2_flags()), Etcd(1)
        try:
            self._both.start()
            self._plain.start()
        except BaseException:
            self.__exit__()
            raise
        return Peers(self._scratch.path, self._both.endpoints[0], self._plain.endpoints[0])

    def __exit__(self, *_: object) -> None:
        self._plain.stop()
        self._both.stop()
        self._scratch.close()


def _versions() -> dict[str, str]:
    def found_in(pattern: str, *command: str) -> str:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        found = re.search(pattern, done.stdout)
        return found[1] if found else "of unknown version"

    number = r"(\d+\.\d+[\d.]*)"
    return {
        "Python": found_in(number, "/usr/bin/python3", "--version"),
        "etcd": release.version(),
        "CTDB": found_in(number, "ctdb", "version"),
        "Linux": platform.release().partition("-")[0],
        "processors:": str(len(os.sched_getaffinity(0))),
    }


if __name__ == "__main__":
    sys.exit(main())
