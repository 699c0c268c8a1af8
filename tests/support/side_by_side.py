# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Cases of one test that mostly wait, run at the same time: they take as long as one of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Sequence


def side_by_side(scenario: Callable[..., object], cases: Sequence[tuple[Any, ...]]) -> None:
    """Call `scenario(*case)` for all cases, each in a thread of its own; when all have ended, raise the first failure.

    A scenario must end the processes that it starts: the kernel kills them with the thread.
    """
    with ThreadPoolExecutor(len(cases)) as pool:
        running = [pool.submit(scenario, *case) for case in cases]
    failed = [(case, one.exception()) for case, one in zip(cases, running) if one.exception()]
    if failed:
        case, failure = failed[0]
        raise AssertionError(f"{len(failed)} of {len(cases)} cases failed, the first of them {case}") from failure
