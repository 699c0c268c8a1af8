# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The figures as Markdown tables."""

from __future__ import annotations

import math
from typing import Callable, Iterable, Optional

from . import clusters, crowds, holding, losses, starts
from .figures import Figures
from .peers import BOTH, DEFAULTS, ETCDCTL, FCNTL, SAMBAS, V2, V3, V3_NAMED

OURS = (V3, V3_NAMED, DEFAULTS, BOTH, V2)


def text(figures: Figures) -> str:
    """Return the whole report."""
    versions = ", ".join(f"{name} {version}" for name, version in figures.versions.items())
    parts = [
        "# How fast it is beside others",
        f"Made by `make bench` on {figures.date}: {versions}. All on one machine, by turns; medians, and in brackets"
        " the quartiles. Behind a stroke: in proportion to Samba's helper (in clusters and of losses: to the fcntl"
        " helper).",
        *_section(
            "From start to status, and from SIGTERM to the moment when others could have the lock (ms)",
            figures,
            starts.TABLE,
            _milliseconds,
            SAMBAS,
        ),
        *_section("A minute of holding", figures, holding.TABLE, _plain, None),
        *_section(
            f'From a lock taken away to the exit of its holder (s; "never": not in {losses.LONGEST:g} s)',
            figures,
            losses.TABLE,
            _seconds,
            FCNTL,
        ),
        *_section(
            "Let loose at one instant: until the last one has its status (s)",
            figures,
            crowds.CONTENDERS,
            _seconds,
            SAMBAS,
        ),
        *_section("Start to status by the number of endpoints (ms)", figures, crowds.ENDPOINTS, _milliseconds, None),
        *_section("What a contended try costs etcd", figures, crowds.TRY, _plain, None),
        *_section(
            'Real clusters of three nodes (ms; "never": not in ' f"{clusters.LONGEST:g} s)",
            figures,
            clusters.TABLE,
            _milliseconds,
            FCNTL,
        ),
    ]
    return "\n\n".join(parts) + "\n"


def short(figures: Figures) -> str:
    """Return the table for README: medians, and their ratios to those of Samba's helper."""
    columns = [
        (starts.TABLE, starts.HOLDING, "start to `0`"),
        (starts.TABLE, starts.CONTENTION, "start to `1`"),
        (holding.TABLE, holding.PROCESSOR, "processor, s/min"),
        (holding.TABLE, holding.MEMORY, "memory, MB"),
        (holding.TABLE, holding.REQUESTS, "requests/min"),
    ]
    rows = [[name, *(_short(figures, table, name, column) for table, column, _ in columns)] for name in _names(figures)]
    return _table(["", *(title for _, _, title in columns)], rows)


def _names(figures: Figures) -> list[str]:
    return [name for name in (*OURS, SAMBAS, FCNTL, ETCDCTL, starts.BARE) if name in figures.rows(starts.TABLE)]


def _short(figures: Figures, table: str, row: str, column: str) -> str:
    value = figures.median(table, row, column)
    if value is None:
        return ""
    if table != starts.TABLE:
        return _plain(value)
    ratio = figures.ratio(table, row, column, SAMBAS)
    return f"{_milliseconds(value)} ms" + (f" ({ratio:.2f})" if ratio and row != SAMBAS else "")


def _section(
    title: str, figures: Figures, table: str, shown: Callable[[float], str], reference: Optional[str]
) -> Iterable[str]:
    if not figures.rows(table):
        return
    columns = figures.columns(table)
    rows = [
        [row, *(_cell(figures, table, row, column, shown, reference) for column in columns)]
        for row in figures.rows(table)
    ]
    yield f"## {title}"
    yield _table(["", *columns], rows)


def _cell(
    figures: Figures, table: str, row: str, column: str, shown: Callable[[float], str], reference: Optional[str]
) -> str:
    middle = figures.median(table, row, column)
    if middle is None:
        return ""
    low, high = figures.spread(table, row, column)
    text = shown(middle) + (f" ({shown(low)} to {shown(high)})" if low != high else "")
    ratio = figures.ratio(table, row, column, reference) if reference and row != reference else None
    return text + (f" / {ratio:.2f}" if ratio is not None and math.isfinite(ratio) and ratio else "")


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _milliseconds(value: float) -> str:
    return "never" if math.isinf(value) else f"{value * 1000:.0f}"


def _seconds(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.2f}"


def _plain(value: float) -> str:
    return f"{value:.3f}" if value < 1 and value % 1 else f"{value:.1f}" if value < 30 and value % 1 else f"{value:.0f}"
