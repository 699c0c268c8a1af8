# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The text report of a run."""

from __future__ import annotations

from collections import Counter

from .checker import Run, Violation
from .record import Record


def text(record: Record, violations: list[Violation]) -> str:
    """Return the whole report."""
    run = Run(record)
    ours = [violation for violation in violations if not violation.apart]
    kinds = dict(sorted((operation.node, operation.kind) for operation in record.operations)).values()
    lines = [
        f"etcd {record.etcd}, seed {record.seed}: {record.ended - record.began:.0f} s, {', '.join(kinds)}; "
        f"leases of {record.ttl} s, {len(record.faults)} faults, {len(run.holders)} holds, {len(ours)} violations",
        "",
        "faults:      "
        + ", ".join(f"{kind} {n}" for kind, n in sorted(Counter(f.kind for f in record.faults).items())),
        "operations:  " + ", ".join(f"{kind} {n}" for kind, n in sorted(_operations(record).items())),
        "ended by:    " + ", ".join(f"{kind} {n}" for kind, n in sorted(_endings(run).items())),
        f"takeovers:   {_distribution(_gaps(run))}",
        f"after heals: {_distribution(sorted(q.held - q.began for q in record.quiets if q.held))}",
        f"etcd's revisions of keys: {len(record.changes)}; removed by faults: {len(record.removals)}; "
        f"longest pause of the recorder: {record.largest_gap:.3f} s",
    ]
    if record.not_here:
        lines.append("not on this machine: " + ", ".join(record.not_here))
    for violation in violations:
        apart = " (apart)" if violation.apart else ""
        lines.append(f"{violation.moment - record.began:9.3f}  {violation.rule}{apart}: {violation.text}")
    return "\n".join(lines)


def _operations(record: Record) -> Counter[str]:
    return Counter(f"{o.kind} {o.why} {o.status or 'none'}" for o in record.operations)


def _endings(run: Run) -> Counter[str]:
    return Counter(str(operation.code) for operation in run.holders)


def _gaps(run: Run) -> list[float]:
    """Return the seconds from each end of holding to the next `0`, sorted."""
    spans = sorted((o.answered or 0, run.end(o)) for o in run.holders)
    gaps: list[float] = []
    end = None
    for began, ended in spans:
        if end is not None and began > end:
            gaps.append(began - end)
        end = max(ended, end or 0)
    return sorted(gaps)


def _distribution(values: list[float]) -> str:
    if not values:
        return "none"
    points = [(name, values[min(len(values) - 1, int(share * len(values)))]) for name, share in _POINTS]
    return f"{len(values)}; s: " + ", ".join(f"{name} {value:.2f}" for name, value in points)


_POINTS = (("least", 0.0), ("10 %", 0.1), ("half", 0.5), ("90 %", 0.9), ("most", 1.0))
