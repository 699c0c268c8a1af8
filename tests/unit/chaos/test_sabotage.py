# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the sabotages: each one finds its text in the program and leaves a program that compiles."""

from __future__ import annotations

import shutil

import pytest

from tests.chaos.sabotage import SABOTAGES
from tests.support import TREE


@pytest.mark.parametrize("name", SABOTAGES)
def test_each_sabotage_applies_to_the_current_program(tmp_path, name):
    package = tmp_path / "ctdb_etcd"
    shutil.copytree(TREE / "ctdb_etcd", package, ignore=shutil.ignore_patterns("__pycache__"))
    SABOTAGES[name].apply(tmp_path)
    changed = {file for file, _, _ in SABOTAGES[name].edits}
    assert changed
    for file in changed:
        text = (tmp_path / file).read_text()
        assert text != (TREE / file).read_text()
        compile(text, file, "exec")
