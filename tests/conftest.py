# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What all tests share: the fixtures of the harness, and the slow ones last."""

from __future__ import annotations

import pytest

pytest_plugins = ["harness.fixtures"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
