# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of cases that run side by side: all run, at the same time, and a failure names its case."""

from __future__ import annotations

import threading

import pytest

from tests.support.side_by_side import side_by_side


def test_all_cases_run_at_the_same_time():
    together = threading.Barrier(3)
    side_by_side(lambda name: together.wait(20), [("a",), ("b",), ("c",)])


def test_failure_names_its_case_after_all_have_run():
    run = []

    def scenario(name, number):
        run.append(name)
        assert number

    with pytest.raises(AssertionError, match=r"1 of 3 cases failed, the first of them \('b', 0\)") as failure:
        side_by_side(scenario, [("a", 1), ("b", 0), ("c", 1)])
    assert sorted(run) == ["a", "b", "c"]
    assert isinstance(failure.value.__cause__, AssertionError)
