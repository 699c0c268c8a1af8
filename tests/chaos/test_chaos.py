# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the promise under faults, in short runs.

`make chaos` runs longer, with other seeds, and with the program broken on purpose.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support import TREE

# These tests run one after the other: each keeps a machine busy.
alone = pytest.mark.xdist_group("chaos")
# What is found once in three runs is a fault: CI does not try again.
pytestmark = pytest.mark.flaky(reruns=0)


def chaos(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tests.chaos", *arguments]
    env = {**os.environ, "PYTHONPATH": str(TREE), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)


@alone
@pytest.mark.slow
@pytest.mark.parametrize("mix", ["v3,v3,v3,v3,v3", pytest.param("auto,2,2,auto,auto", marks=pytest.mark.v2)])
def test_two_helpers_never_hold_together_in_a_minute_of_faults(mix: str) -> None:
    done = chaos("--seconds", "30", "--seed", "1", "--ttl", "3", "--mix", mix)
    assert done.returncode == 0, done.stdout
    assert "0 violations" in done.stdout


@alone
@pytest.mark.slow
def test_program_that_releases_before_ctdbd_knows_is_found() -> None:
    done = chaos("--seconds", "120", "--seed", "1", "--sabotage", "given back before ctdbd knows")
    assert done.returncode == 1 and "gone before the key" in done.stdout, done.stdout
