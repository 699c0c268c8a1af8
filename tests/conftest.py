# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What all tests share: the fixtures of support, the marks that each folder's tests have, and the slow ones last."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["tests.support.fixtures"]

HERE = Path(__file__).resolve().parent

# What all the tests of a folder need.
NEEDS = {"unit": (), "etcd": ("etcd",), "cluster": ("etcd", "root"), "chaos": ("etcd", "root")}


@pytest.hookimpl(tryfirst=True)  # before -m selects by the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for need in NEEDS.get(Path(item.fspath).relative_to(HERE).parts[0], ()):
            item.add_marker(need)
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
