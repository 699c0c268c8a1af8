# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What `make bench` makes of its figures, and those that hang on no clock: requests and writes."""

from __future__ import annotations

import time
from xml.etree import ElementTree

import pytest

from tests.bench import clusters, crowds, plot, report, starts
from tests.bench.figures import Figures
from tests.bench.peers import FCNTL, SAMBAS, V3
from tests.support.helper import Helper
from tests.support.proxy import Proxy


@pytest.fixture
def figures():
    made = Figures()
    made.date, made.versions = "2026-01-02", {"etcd": "3.5"}
    for row, values in {V3: [0.04, 0.05, 0.09], SAMBAS: [0.2, 0.2, 0.21]}.items():
        for value in values:
            made.add(starts.TABLE, row, starts.CONTENTION, value)
    made.add(clusters.TABLE, SAMBAS, clusters.HELPER_KILLED, float("inf"))
    made.add(clusters.TABLE, FCNTL, clusters.RECOVERY, 0.1)
    return made


def test_the_tables_give_medians_their_spread_and_the_ratio_to_sambas_helper(figures):
    assert f"| {V3} | 50 (45 to 70) / 0.25 |" in report.text(figures)
    assert "2026-01-02: etcd 3.5." in report.text(figures)
    assert f"| {SAMBAS} | never |  |" in report.text(figures)
    assert f"| {V3} |  | 50 ms (0.25) |" in report.short(figures)


def test_the_plot_is_a_picture_with_a_bar_for_each_median(figures):
    picture = ElementTree.fromstring(plot.svg(figures))
    bars = [bar for bar in picture.iter("{http://www.w3.org/2000/svg}rect") if bar.get("class")]
    ours, sambas, fcntl = (float(bar.get("width")) for bar in bars)
    assert ours == pytest.approx(sambas / 4, abs=0.1) and fcntl > 0


def test_a_contended_try_is_one_request_and_no_write(tmp_path):
    figures = Figures()
    crowds.measure_try(tmp_path, figures)
    assert figures.get(crowds.TRY, "requests", "number") == [1]
    assert figures.get(crowds.TRY, "writes", "number") == [0]


def test_holding_takes_a_keepalive_and_a_look_each_refresh_and_no_more(etcd, helper_conf):
    with Proxy(etcd.endpoints[0]) as proxy, Helper(helper_conf(host=proxy.endpoint, refresh=0.5)) as helper:
        assert helper.status() == "0"
        before = len(proxy.seen().requests)
        time.sleep(3.2)
        paths = [line.rpartition("/")[2] for _, line in proxy.seen().requests[before:]]
        paths = paths[paths.index("keepalive") :]
        assert 2 <= len(paths) and paths == (["keepalive", "range"] * len(paths))[: len(paths)]
        assert proxy.seen().connections == 2  # one of them to learn whether v2 is served
