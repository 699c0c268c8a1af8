# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Shared by all tests: the support fixtures, the marks for the tests of each folder, and the order of the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import release

pytest_plugins = ["tests.support.fixtures"]

HERE = Path(__file__).resolve().parent

# The needs of all tests of a folder, which become their marks.
NEEDS = {"unit": (), "etcd": ("etcd",), "cluster": ("etcd", "root"), "chaos": ("etcd", "root"), "vm": ()}


@pytest.hookimpl(tryfirst=True)  # before -m selects by the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for need in NEEDS.get(Path(item.fspath).relative_to(HERE).parts[0], ()):
            item.add_marker(need)
        if "etcd_v2_of_session" in getattr(item, "fixturenames", ()):
            item.add_marker("v2")
    # In a plain run quick tests come first. In a parallel run the longest do, so that no processor idles at the end.
    items.sort(key=_length, reverse="PYTEST_XDIST_WORKER" in os.environ)


def _length(item: pytest.Item) -> int:
    return sum(item.get_closest_marker(mark) is not None for mark in ("slow", "root", "xdist_group"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("v2") and not release.serves_v2():
        pytest.skip(f"etcd {release.version()} has no v2 API")
