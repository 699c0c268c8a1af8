# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Draws the figures as SVG: a bar for each median, a line for its quartiles."""

from __future__ import annotations

from html import escape
from typing import Sequence

from . import clusters, crowds, starts
from .figures import Figures
from .peers import ETCDCTL, FCNTL, SAMBAS

LEFT, BARS, RIGHT = 170, 330, 60  # pixels
ROW, BAR, GAP = 18, 12, 48

PANELS = (
    (starts.TABLE, starts.CONTENTION, "start to 1 (contention), ms", 1000),
    (starts.TABLE, starts.HOLDING, "start to 0 (holding), ms", 1000),
    (clusters.TABLE, clusters.RECOVERY, "a recovery of a real cluster, ms", 1000),
    (crowds.CONTENDERS, "64", "64 at one instant: all answered, s", 1),
)
OTHERS = {SAMBAS: "samba", FCNTL: "other", ETCDCTL: "other", starts.BARE: "other"}


def svg(figures: Figures) -> str:
    """Return the picture."""
    parts: list[str] = []
    y = 14
    for table, column, title, factor in PANELS:
        rows = [row for row in figures.rows(table) if figures.get(table, row, column)]
        if rows:
            y = _panel(parts, figures, table, column, title, factor, rows, y)
    about = figures.date + "".join(f", {name} {version}" for name, version in figures.versions.items())
    parts.append(f'<text x="4" y="{y + 4}" class="about">{escape(about)}</text>')
    y += 12
    width = LEFT + BARS + RIGHT
    style = (
        "text{font:12px sans-serif;fill:#222}.title{font-weight:bold}.about{font-size:10px}"
        ".ours{fill:#3949ab}.samba{fill:#fb8c00}.other{fill:#9e9e9e}line{stroke:#222}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}">\n'
        f'<style>{style}</style>\n<rect width="{width}" height="{y}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(
    parts: list[str],
    figures: Figures,
    table: str,
    column: str,
    title: str,
    factor: float,
    rows: Sequence[str],
    y: int,
) -> int:
    """Draw a panel from y on; return the y where the next one may begin."""
    longest = max(figures.spread(table, row, column)[1] for row in rows)
    scale = BARS / (longest * factor)
    parts.append(f'<text x="4" y="{y + 4}" class="title">{escape(title)}</text>')
    y += 12
    for row in rows:
        middle = (figures.median(table, row, column) or 0) * factor
        low, high = (value * factor * scale + LEFT for value in figures.spread(table, row, column))
        kind = OTHERS.get(row, "ours")
        at = y + BAR / 2
        parts.append(f'<text x="{LEFT - 6}" y="{y + BAR - 2}" text-anchor="end">{escape(row)}</text>')
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{middle * scale:.1f}" height="{BAR}" class="{kind}"/>')
        parts.append(f'<line x1="{low:.1f}" y1="{at}" x2="{high:.1f}" y2="{at}"/>')
        label = f"{middle:.0f}" if middle >= 10 else f"{middle:.2g}"
        parts.append(f'<text x="{max(high, LEFT + middle * scale) + 5:.1f}" y="{y + BAR - 2}">{label}</text>')
        y += ROW
    return y + GAP - 2 * ROW
