# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the tables in docs/DESIGN.md and docs/model/README.md: they are complete, and what they name exists."""

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


def unknown(part):
    """Return those of the functions in this table cell that the file named before them does not define."""
    file, *names = re.findall(r"`([^`]+)`", part)
    source = (TREE / "ctdb_etcd" / file).read_text()
    return [name for name in names if not re.search(rf"(def|class) {name.rpartition('.')[2]}\b", source)]


@pytest.mark.parametrize("claim, kept, tests, sabotage, broken", ROWS, ids=lambda cell: cell[:40])
def test_claim_names_what_exists(claim, kept, tests, sabotage, broken):
    for part in kept.split(";"):
        assert not unknown(part)
    folder = ""
    for test in tests.split(", "):
        folder = test.rpartition("/")[0] or folder
        assert list(TREE.glob(f"tests/{folder}/{test.rpartition('/')[2]}*")), test
    for part in filter(None, re.split(r"; (?=chaos|model)", sabotage)):
        kind, _, names = part.partition(": ")
        known = {"chaos": SABOTAGES, "model": MODEL, "-": {}}[kind]
        names = names.split(", ") if names else []
        assert not [name for name in names if name not in known]
        if kind == "model":
            assert {known[name].breaks for name in names} == set(broken.split(", "))


def test_each_sabotage_of_the_model_is_in_the_table():
    assert not [name for name in MODEL if name not in TEXT]


PAPER = (TREE / "docs/model/README.md").read_text()
STEPS = [line.strip("|").split("|") for line in PAPER.splitlines() if re.match(r"\| `\w+`|\| any", line)]


@pytest.mark.parametrize("states, step, program", STEPS, ids=lambda cell: cell[:40])
def test_step_of_the_model_names_what_exists(states, step, program):
    for part in program.split(";"):
        if re.match(r" *`[a-z0-9/_]+\.py`", part):
            assert not unknown(part)


@pytest.mark.parametrize("model", ["v3", "v2"])
def test_each_state_of_a_helper_in_the_model_is_explained(model):
    text = (TREE / f"docs/model/{model}.pml").read_text()
    states = re.search(r"mtype = \{ out,([^}]*)\}", text)[1].replace(",", " ").split()
    named = " ".join(states for states, _, _ in STEPS)
    assert not [state for state in states if f"`{state}`" not in named and not state.startswith("s_")]
