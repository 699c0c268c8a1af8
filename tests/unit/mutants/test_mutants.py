# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the mutants: each kind of change is made, and each listed survivor is still in the program."""

from __future__ import annotations

import pytest

from tests.mutants import guards
from tests.mutants.operators import mutants
from tests.mutants.survivors import LISTED
from tests.support import TREE

SOURCE = '''
LIMIT = 2.0
def f(x, names, log):
    """A text with 1 and not or."""
    if not x or x <= LIMIT:
        raise ValueError(f"{x + 1}")
    names.add(x - 1, key=True)
    log.error("x")
    return min(x, 3)
'''


def results(source):
    return {mutant.change: mutant.applied(source.encode()).decode() for mutant in mutants("m.py", source)}


@pytest.mark.parametrize(
    "change, old, new",
    [
        ("2.0 -> 4.0", "2.0", "4.0"),
        ("<= -> <", "<=", "<"),
        ("<= -> >", "<=", ">"),
        ("or -> and", "not x or", "not x and"),
        ("without not", "not x", "x"),
        ("without not x", "not x or x <= LIMIT", "(x <= LIMIT)"),
        ('removed raise ValueError(f"{x + 1}")', 'raise ValueError(f"{x + 1}")', "pass"),
        ("removed names.add(x - 1, key=True)", "names.add(x - 1, key=True)", "pass"),
        ("- -> +", "x - 1", "x + 1"),
        ("1 -> 0", "x - 1", "x - 0"),
        ("True -> False", "True", "False"),
        ("without key=", ", key=True", ""),
        ('removed log.error("x")', 'log.error("x")', "pass"),
        ("removed return", "return min(x, 3)", "return None"),
        ("min -> max", "min", "max"),
        ("only x", "min(x, 3)", "(x)"),
    ],
)
def test_each_kind_of_change_is_made_in_its_place(change, old, new):
    assert SOURCE.count(old) == 1
    assert results(SOURCE)[change] == SOURCE.replace(old, new)


def test_swapped_arguments_are_one_kind_of_change():
    assert results("f(a, b, c)\n")["swapped b, a"] == "f(b, a, c)\n"


def test_texts_and_messages_are_not_mutated():
    assert not [result for result in results(SOURCE).values() if "A text with 1 and not or." not in result]
    assert not [result for result in results(SOURCE).values() if "raise" in result and "{x + 1}" not in result]


def test_each_mutant_has_its_own_name_and_differs_from_the_program():
    found = mutants("m.py", SOURCE)
    assert len({mutant.name for mutant in found}) == len({mutant.applied(SOURCE.encode()) for mutant in found})
    assert SOURCE not in results(SOURCE).values()


@pytest.mark.parametrize("part, names", [("hold", ["ctdb/hold.py"]), ("lock/v3", ["lock/v3.py"]), ("no such", [])])
def test_a_module_is_found_by_its_name(part, names):
    assert guards.modules(part) == names


@pytest.mark.parametrize("module", guards.modules())
def test_each_module_has_tests_of_its_name_and_all_named_tests_exist(module):
    steps = guards.quick(module)
    assert all((TREE / test).exists() for tests in [*steps, guards.slow(module)] for test in tests)
    assert steps[0]


def test_each_listed_survivor_is_still_a_mutant_and_has_a_reason():
    modules = {name.partition(" | ")[0] for name in LISTED}
    there = {mutant.name for name in modules for mutant in mutants(name, (guards.PACKAGE / name).read_text())}
    assert [name for name in LISTED if name not in there] == []
    assert [name for name, reason in LISTED.items() if not reason] == []
