# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the tree: short files, short test names, and each test in a folder named after what it needs."""

from __future__ import annotations

import re

from tests.conftest import NEEDS
from tests.support import TREE

FILES = {path.relative_to(TREE): path.read_text() for path in (TREE / "tests").rglob("*.py")}


def test_files_have_at_most_300_lines():
    product = {path.relative_to(TREE): path.read_text() for path in (TREE / "ctdb_etcd").rglob("*.py")}
    lines = {file: text.count("\n") for file, text in {**FILES, **product}.items()}
    assert {file: count for file, count in lines.items() if count > 300} == {} and len(product) > 30


def test_test_names_have_at_most_70_characters():
    names = re.findall(r"^def (test_\w+)", "".join(FILES.values()), re.MULTILINE)
    assert [name for name in names if len(name) > 70] == [] and names


def test_tests_are_in_a_folder_named_after_what_they_need():
    assert {file.parts[1] for file in FILES if file.name.startswith("test_")} <= NEEDS.keys()
