# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of where the command finds modules."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.support import TREE


@pytest.fixture
def command(tmp_path):
    """A copy of the command in a directory that, as libexec/ctdb might, has files with names of Python's modules."""
    shutil.copytree(TREE / "ctdb_etcd", tmp_path / "ctdb_etcd", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("signal", "json", "configobj", "etcd"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)\n")
    return shutil.copy(TREE / "ctdb_etcd_lock.py", tmp_path)


@pytest.mark.parametrize("option", [[], ["--check"]], ids=["helper", "report"])
def test_modules_come_from_python_and_never_from_beside_the_command(command, tmp_path, option):
    conf = tmp_path / "conf"
    conf.write_text("netbios_name = X\nport = bad\n")
    run = subprocess.run([command, *option, "-c", conf], capture_output=True, text=True, timeout=30)
    assert (run.returncode, "line 2: port" in run.stdout + run.stderr) == (1 if option else 3, True), run
