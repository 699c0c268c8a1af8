# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the package's layers: no import goes upward, and a contender imports only what it needs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import TREE

PACKAGE = TREE / "ctdb_etcd"
# From the bottom up: a module may import from the entries before it and from its own wing.
FLOORS = ["__init__", "errors", "waiting", "fence", "log", "config", "client", "lock", "ctdb", "report", "main"]
# These packages are slow to import or not installed everywhere. Only these modules may import them.
RARE = {"etcd": {"client/v2", "lock/v2"}, "dns": {"client/srv"}, "ssl": {"client/tls"}}
# Not needed if the lock is held or etcd is unreachable: CTDB waits for each import, on every node in every recovery.
FOR_TAKING = {"lock/v3_lease", "lock/v2_served", "lock/one_etcd", "ctdb/settings", "ctdb/commands", "client/tls"}
MODULES = sorted(str(path.relative_to(PACKAGE).with_suffix("")) for path in PACKAGE.rglob("*.py"))


def imports(module: str, everywhere: bool = True) -> list[tuple[int, str, list[str]]]:
    """Return level, module and names of each import, without those for types. `everywhere` adds those in functions."""
    found = []

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.ImportFrom):
                found.append((child.level, child.module or "", [name.name for name in child.names]))
            elif isinstance(child, ast.Import):
                found.extend((0, name.name, []) for name in child.names)
            if everywhere or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                visit(child)

    visit(ast.parse((PACKAGE / f"{module}.py").read_text()))
    return found


def within(module: str) -> set[str]:
    """Return the modules of the package that this one imports, as paths in the package."""
    result = set()
    for level, name, names in imports(module):
        if not level:
            continue
        base = PACKAGE.joinpath(*Path(module).parts[: len(Path(module).parts) - level])
        target = base.joinpath(*name.split(".")) if name else base
        for one in names:
            path = target / one
            path = path if path.with_suffix(".py").exists() else target
            path = path if path.with_suffix(".py").exists() else path / "__init__"
            result.add(str(path.relative_to(PACKAGE)))
    return result


def floor(module: str) -> int:
    return FLOORS.index(Path(module).parts[0])


@pytest.mark.parametrize("module", MODULES)
def test_module_does_not_import_from_a_higher_wing(module):
    assert not [other for other in within(module) if floor(other) > floor(module)]


def test_modules_do_not_import_each_other_in_a_circle():
    above = {module: within(module) - {module} for module in MODULES}
    while above:
        free = [module for module, needed in above.items() if not needed & above.keys()]
        assert free, f"a circle among {sorted(above)}"
        for module in free:
            del above[module]


@pytest.mark.parametrize("name", RARE)
def test_rare_imports_stay_where_they_are_needed(name):
    users = {module for module in MODULES if any(found.split(".")[0] == name for _, found, _ in imports(module))}
    assert users <= RARE[name]


def test_plan_of_the_house_has_every_module():
    plan = (TREE / "docs/DESIGN.md").read_text().partition("## The house")[2].partition("\n## ")[0]
    assert not [module for module in MODULES if f"{Path(module).name}.py" not in plan and "__init__" not in module]


def test_each_wing_describes_itself_in_one_paragraph():
    for init in PACKAGE.glob("*/__init__.py"):
        tree = ast.parse(init.read_text())
        text = ast.get_docstring(tree)
        assert text and len(tree.body) == 1 and "May import" in text, init
        named = set(re.findall(r"\w+", text))
        assert not {path.stem for path in init.parent.glob("*.py")} - named - {"__init__"}, init


def loaded_by_a_contender(tmp_path, text, code):
    """Return what `code`, in a new interpreter, prints on stderr last; sys.argv[2] is a file with `text`."""
    conf = tmp_path / "ctdb_etcd_lock.conf"
    conf.write_text(text)
    code = f"import os, sys; sys.path.insert(0, sys.argv[1])\n{code}"
    run = [sys.executable, "-IS", "-c", code, str(TREE), str(conf)]
    return subprocess.run(run, capture_output=True, text=True, timeout=30).stderr.splitlines()[-1].split()


def test_what_testparm_does_not_need_is_imported_after_its_start(tmp_path):
    code = (
        "before = {*sys.modules}\n"
        "def fork():\n"
        "    print(*sys.modules.keys() - before, file=sys.stderr, flush=True)\n"
        "    os._exit(0)\n"
        "os.fork = fork\n"
        "from ctdb_etcd.main import main\n"
        "main(['-c', sys.argv[2]])"
    )
    loaded = loaded_by_a_contender(tmp_path, "host = 127.0.0.1:1\n", code)
    needed = "config config.file ctdb ctdb.commands ctdb.process errors log main waiting".split()
    assert sorted(name.partition(".")[2] for name in loaded if name.startswith("ctdb_etcd.")) == needed
    assert not {"re", "site", "configobj"} & set(loaded)


def test_a_contender_imports_no_report_and_no_rare_module(tmp_path):
    code = (
        "from ctdb_etcd.main import main\n"
        "from ctdb_etcd.config import keys\n"
        "keys.SPEC['acquire_timeout'] = keys.number(float, 0.1, 1, 0.1, 'seconds')\n"
        "main(['-c', sys.argv[2]])\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    loaded = loaded_by_a_contender(tmp_path, "host = 127.0.0.1:1\nnetbios_name = X\n", code)
    assert "ctdb_etcd.lock.v3" in loaded
    assert not {"etcd", "dns", "ssl", "threading", "argparse", "http", "email", "urllib3"} & set(loaded)
    assert not [module for module in loaded if module.startswith("ctdb_etcd.report")]
    assert not {f"ctdb_etcd.{module.replace('/', '.')}" for module in FOR_TAKING} & set(loaded)
