# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The table of claims in docs/DESIGN.md names functions, tests and sabotages that exist."""

from __future__ import annotations

import re
import runpy

import pytest

from tests.chaos.sabotage import SABOTAGES
from tests.support import TREE

MODEL = runpy.run_path(str(TREE / "docs/model/check.py"))["SABOTAGES"]
TEXT = (TREE / "docs/DESIGN.md").read_text().partition("## Claims")[2].partition("\n## ")[0]
LINES = [line for line in TEXT.splitlines() if line.startswith("| ")][1:]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in LINES]


@pytest.mark.parametrize("claim, kept, tests, sabotage", ROWS, ids=lambda cell: cell[:40])
def test_claim_names_what_exists(claim, kept, tests, sabotage):
    for part in kept.split(";"):
        names = re.findall(r"`([^`]+)`", part)
        source = (TREE / "ctdb_etcd" / names[0]).read_text()
        assert not [name for name in names[1:] if not re.search(rf"(def|class) {name.rpartition('.')[2]}\b", source)]
    folder = ""
    for test in tests.split(", "):
        folder = test.rpartition("/")[0] or folder
        assert list(TREE.glob(f"tests/{folder}/{test.rpartition('/')[2]}*")), test
    for part in filter(None, re.split(r"; (?=chaos|model)", sabotage)):
        kind, _, names = part.partition(": ")
        known = {"chaos": SABOTAGES, "model": MODEL, "-": {}}[kind]
        names = names.split(", ") if names else []
        assert not [name for name in names if name not in known]
