# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What all tests share: the fixtures of support, the marks that each folder's tests have, and their order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import release

pytest_plugins = ["tests.support.fixtures"]

HERE = Path(__file__).resolve().parent

# What all the tests of a folder need.
NEEDS = {"unit": (), "etcd": ("etcd",), "cluster": ("etcd", "root"), "chaos": ("etcd", "root"), "vm": ()}


@pytest.hookimpl(tryfirst=True)  # before -m selects by the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for need in NEEDS.get(Path(item.fspath).relative_to(HERE).parts[0], ()):
            item.add_marker(need)
        if "etcd_v2_of_session" in getattr(item, "fixturenames", ()):
            item.add_marker("v2")
    # By hand the quick ones come first. In parallel what takes longest does, so that no processor idles at the end.
    items.sort(key=_length, reverse="PYTEST_XDIST_WORKER" in os.environ)


def _length(item: pytest.Item) -> int:
    return sum(item.get_closest_marker(mark) is not None for mark in ("slow", "root", "xdist_group"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("v2") and not release.serves_v2():
        pytest.skip(f"etcd {release.version()} has no v2 API")
