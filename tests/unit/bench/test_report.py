# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the tables and the plot that `make bench` makes from its figures."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tests.bench import clusters, losses, plot, report, starts
from tests.bench.figures import Figures
from tests.bench.peers import FCNTL, SAMBAS, V3


@pytest.fixture
def figures():
    made = Figures()
    made.date, made.versions = "2026-01-02", {"etcd": "3.5"}
    for row, values in {V3: [0.04, 0.05, 0.09], SAMBAS: [0.2, 0.2, 0.21]}.items():
        for value in values:
            made.add(starts.TABLE, row, starts.CONTENTION, value)
    made.add(clusters.TABLE, SAMBAS, clusters.HELPER_KILLED, float("inf"))
    made.add(clusters.TABLE, FCNTL, clusters.RECOVERY, 0.1)
    made.add(losses.TABLE, V3, losses.EXIT, 0.02)
    made.add(losses.TABLE, SAMBAS, losses.EXIT, float("inf"))
    return made


def test_tables_give_medians_their_spread_and_ratio_to_sambas_helper(figures):
    assert f"| {V3} | 50 (45 to 70) / 0.25 |" in report.text(figures)
    assert "2026-01-02: etcd 3.5." in report.text(figures)
    assert f"| {V3} | 0.02 |\n| {SAMBAS} | never |" in report.text(figures)
    assert f"| {SAMBAS} | never |  |" in report.text(figures)
    assert f"| {V3} |  | 50 ms (0.25) |" in report.short(figures)


def test_plot_has_a_bar_for_each_median(figures):
    picture = ElementTree.fromstring(plot.svg(figures))
    bars = [bar for bar in picture.iter("{http://www.w3.org/2000/svg}rect") if bar.get("class")]
    ours, sambas, fcntl = (float(bar.get("width")) for bar in bars)
    assert ours == pytest.approx(sambas / 4, abs=0.1) and fcntl > 0
