# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The modules to mutate, and the tests that guard each: quick tests first, tests on etcd for the survivors."""

from __future__ import annotations

from typing import Dict, List

from tests.support import TREE

PACKAGE = TREE / "ctdb_etcd"
# The modules that decide which process holds the lock, and until when.
PATTERNS = [
    "fence.py",
    "ctdb/cluster_name.py",
    "ctdb/commands.py",
    "ctdb/hold.py",
    "ctdb/process.py",
    "ctdb/settings.py",
    "lock/*.py",
    "client/endpoints.py",
    "client/http1.py",
    "client/login.py",
    "client/race.py",
    "client/retry.py",
    "client/srv.py",
    "client/tls.py",
    "client/v2.py",
    "client/v2_http.py",
    "client/v3.py",
    "client/v3_answers.py",
    "config/*.py",
    "errors.py",
    "log.py",
    "main.py",
    "waiting.py",
]
# Tests of a module in addition to those with its name. Those that find most come first.
_ALSO: Dict[str, List[str]] = {
    "fence.py": ["ctdb/test_hold.py", "lock/test_v3_lease.py"],
    "client/endpoints.py": ["client/test_names.py", "client/test_read_again.py", "client/test_v3_network.py"],
    "client/http1.py": ["client/test_v3_network.py", "client/test_v3_watch.py"],
    "client/race.py": ["client/test_endpoints.py", "client/test_v3_network.py"],
    "client/tls.py": ["client/test_read_again.py"],
    "client/v2_http.py": ["client/test_v2.py"],
    "client/v3.py": ["client/test_login.py", "client/test_names.py", "client/test_read_again.py"],
    "client/v3_answers.py": ["lock/test_v3_errors.py", "lock/test_v3.py"],
    "config/keys.py": ["config"],
    "config/parse.py": ["config"],
    "lock/holder.py": ["lock/test_nonce_file.py"],
    "lock/v2_served.py": ["lock/test_open_apis.py"],
    "lock/v3_lease.py": [f"lock/test_v3{part}.py" for part in ("", "_take", "_errors", "_evict")],
    "lock/takeover.py": ["lock/test_nonce_file.py"],
}


def modules(part: str = "") -> List[str]:
    """Return the package paths of the modules named `part`; if there are none, those with `part` in the path."""
    paths = [path for pattern in PATTERNS for path in sorted(PACKAGE.glob(pattern)) if path.name != "__init__.py"]
    names = [str(path.relative_to(PACKAGE)) for path in paths]
    exact = [name for name in names if part and f"/{name}".endswith(f"/{part.removesuffix('.py')}.py")]
    return exact or [name for name in names if part in name]


def named(folder: str, module: str) -> List[str]:
    """Return the test files in a test folder that have the module's name."""
    wing, _, name = module.removesuffix(".py").rpartition("/")
    found = sorted((TREE / folder / wing).glob(f"test_{name}*.py"))
    return [str(path.relative_to(TREE)) for path in found]


def quick(module: str) -> List[List[str]]:
    """Return the unit tests in two steps: those with the module's name; then its whole wing and test_start.py."""
    first = named("tests/unit", module) + [f"tests/unit/{name}" for name in _ALSO.get(module, [])]
    wing = module.rpartition("/")[0]
    second = [f"tests/unit/{wing}"] if wing else ["tests/unit/ctdb", "tests/unit/config"]
    return [step for step in (first, [*second, "tests/unit/test_start.py"]) if step]


def slow(module: str) -> List[str]:
    """Return the tests on etcd of the module's wing: those with its name come first."""
    wing = module.rpartition("/")[0]
    folder = f"tests/etcd/{wing}"
    return [*named("tests/etcd", module), folder if wing and (TREE / folder).is_dir() else "tests/etcd/ctdb"]
