# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Draws a run's timeline as SVG: nodes as rows, holders as bars, faults as marks with names, violations in red."""

from __future__ import annotations

from html import escape

from .checker import Run, Violation
from .record import SAMBA, Record

SECOND = 40  # pixels
ROW = 34
LEFT = 90


def svg(record: Record, violations: list[Violation]) -> str:
    """Return the picture. A browser shows the name and times of an element under the mouse."""
    run = Run(record)
    nodes = sorted({operation.node for operation in record.operations})
    kinds = sorted({fault.kind for fault in record.faults})
    width = LEFT + (record.ended - record.began) * SECOND + 20
    faults_at = 40 + ROW * (len(nodes) + 1)
    height = faults_at + 14 * len(kinds) + 20
    parts: list[str] = []

    def x(moment: float | None) -> float:
        return LEFT + ((record.ended if moment is None else moment) - record.began) * SECOND

    def bar(a: float | None, b: float | None, y: float, tall: float, style: str, title: str) -> None:
        wide = max(1.5, x(b) - x(a))
        title = f"{title}: {(x(a) - LEFT) / SECOND:.3f} to {(x(b) - LEFT) / SECOND:.3f}"
        parts.append(
            f'<rect x="{x(a):.1f}" y="{y:.0f}" width="{wide:.1f}" height="{tall}" class="{style}">'
            f"<title>{escape(title)}</title></rect>"
        )

    def label(at: float, y: float, words: str) -> None:
        parts.append(f'<text x="{at:.1f}" y="{y:.0f}">{escape(words)}</text>')

    for second in range(0, int(record.ended - record.began) + 1):
        at = LEFT + second * SECOND
        parts.append(f'<line x1="{at}" y1="24" x2="{at}" y2="{height}"/>')
        if second % 5 == 0:
            label(at, 18, str(second))
    for quiet in record.quiets:
        bar(quiet.began, quiet.held or quiet.gave_up, 24, height - 24, "quiet", "no fault")
    for row, node in enumerate(nodes):
        y = 40 + row * ROW
        label(4, y + 14, node)
        for operation in (o for o in record.operations if o.node == node):
            title = f"{operation.name} ({operation.kind}) status {operation.status or 'none'}, code {operation.code}"
            bar(operation.started, operation.exited or operation.eof, y + 20, 3, "life", title)
            if operation.status[:1] == "0":
                style = "samba" if operation.kind == SAMBA else "whole"
                bar(operation.answered, run.end(operation), y, 18, style, title)
                for a, b in run.held(operation):
                    bar(a, b, y, 18, f"{style} held", title)
            for began, ended in operation.stops:
                bar(began, min(ended or record.ended, run.end(operation)), y + 20, 6, "stop", f"{title}, stopped")
    y = 40 + len(nodes) * ROW
    label(4, y + 14, "key in etcd")
    for put, writer in run.puts:
        gone = run.removed.get(put.key)
        bar(
            put.seen,
            gone.seen if gone else None,
            y,
            10,
            "key",
            f"{put.key} revision {put.revision} {writer and writer.name}",
        )
    for row, kind in enumerate(kinds):
        y = faults_at + 14 * row
        for fault in (f for f in record.faults if f.kind == kind):
            bar(fault.began, fault.ended or fault.began, y, 8, "fault", f"{kind}: {fault.target}")
        label(4, y + 8, kind)
    for violation in violations:
        bar(violation.moment, violation.moment, 24, height - 24, "bad", f"{violation.rule}: {violation.text}")
    style = (
        "text{font:10px sans-serif}line{stroke:#eee}.quiet{fill:#e8f5e9}.life{fill:#bbb}.whole{fill:#c5cae9}"
        ".whole.held{fill:#3949ab}.samba{fill:#ffe0b2}.samba.held{fill:#fb8c00}.stop{fill:#8e24aa}.key{fill:#00897b}"
        ".fault{fill:#d81b60;opacity:.5}.bad{fill:red}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}">'
        f"<style>{style}</style>{''.join(parts)}</svg>\n"
    )
