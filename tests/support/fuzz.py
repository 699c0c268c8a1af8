# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The tests' settings for Hypothesis: the same examples in every run, fewer of them with FUZZ=quick.

If Hypothesis is not installed, test modules that import this one are skipped.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

pytest.importorskip("hypothesis", reason="python3-hypothesis is not installed")

from hypothesis import HealthCheck, assume, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

__all__ = ["JSON", "NUMBERS", "assume", "examples", "given", "st"]

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("9" * 5000)),
    lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(st.text(max_size=5), part, max_size=3)),
    max_leaves=8,
)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-3, 12).map(str),
    st.sampled_from([float("inf"), float("nan"), "x", "9" * 99]),
)


def examples(count: int) -> Any:
    """Draw `count` examples (with FUZZ=quick a twentieth, at least 10), however slow the machine is."""
    return settings(
        max_examples=max(10, count // 20) if os.environ.get("FUZZ") == "quick" else count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
