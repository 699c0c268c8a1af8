# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What all tests share: the fixtures of support, the mark of those that start etcd, and the slow ones last."""

from __future__ import annotations

import pytest

pytest_plugins = ["tests.support.fixtures"]


@pytest.hookimpl(tryfirst=True)  # before -m selects by the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"etcd_of_session", "etcd3_of_session"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.etcd)
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
