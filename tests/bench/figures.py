# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The measurements and their statistics: medians, with the quartiles as their spread."""

from __future__ import annotations

import statistics
from typing import Optional


class Figures:
    """Lists of numbers by table, row and column, in seconds unless the column names another unit."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, dict[str, list[float]]]] = {}
        self.versions: dict[str, str] = {}
        self.date = ""

    def add(self, table: str, row: str, column: str, value: float) -> None:
        """Add a measurement; infinity: it did not happen within the time limit."""
        self.values.setdefault(table, {}).setdefault(row, {}).setdefault(column, []).append(value)

    def get(self, table: str, row: str, column: str) -> list[float]:
        return self.values.get(table, {}).get(row, {}).get(column, [])

    def rows(self, table: str) -> list[str]:
        return list(self.values.get(table, {}))

    def columns(self, table: str) -> list[str]:
        """Return the columns of all rows, in the order of their first appearance."""
        return list(dict.fromkeys(column for row in self.values.get(table, {}).values() for column in row))

    def median(self, table: str, row: str, column: str) -> Optional[float]:
        values = self.get(table, row, column)
        return statistics.median(values) if values else None

    def spread(self, table: str, row: str, column: str) -> tuple[float, float]:
        """Return the lower and the upper quartile, or the extremes if there is one value or an infinite one."""
        values = self.get(table, row, column)
        if len(values) < 2 or float("inf") in values:
            return min(values), max(values)
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return low, high

    def ratio(self, table: str, row: str, column: str, to: str) -> Optional[float]:
        """Return the ratio of the row's median to that of another row."""
        mine, others = self.median(table, row, column), self.median(table, to, column)
        return mine / others if mine is not None and others else None
