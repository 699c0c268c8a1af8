# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Choice of the etcd that the tests start: the distribution's, or the one that the environment variable ETCD names.

tests/releases/build-etcd builds other versions. tests/releases/etcd-versions lists the versions to test with.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from pathlib import Path

from . import TREE


def program() -> str:
    """Return the path of the tested etcd; raise AssertionError if it is missing."""
    path = os.path.abspath(os.environ.get("ETCD") or "/usr/bin/etcd")
    assert os.access(path, os.X_OK), f"no etcd at {path}: run .ci/install-deps check, or set ETCD to one"
    return path


@functools.lru_cache(maxsize=None)
def version_of(path: str) -> str:
    """Return the version of the etcd at `path`, such as "3.4.23"."""
    done = subprocess.run([path, "--version"], stdout=subprocess.PIPE, text=True, timeout=20, check=True)
    found = re.search(r"^etcd Version: ([\d.]+)", done.stdout, re.M)
    assert found, f"{path} is no etcd: {done.stdout!r}"
    return found[1]


def version() -> str:
    """Return the version of the tested etcd."""
    return version_of(program())


def serves_v2() -> bool:
    """Return whether the tested etcd can serve the v2 API: 3.6 and later cannot."""
    return tuple(map(int, version().split(".")[:2])) < (3, 6)


def v2_flags() -> list[str]:
    """Return the flags that enable the v2 API, if etcd has it.  Tests that need v2 have the mark "v2"."""
    return ["--enable-v2=true"] if serves_v2() else []


def newest(branch: str) -> str:
    """Return the newest listed version of a branch such as "3.6"."""
    listed = (TREE / "tests" / "releases" / "etcd-versions").read_text()
    versions: list[str] = re.findall(rf"^{re.escape(branch)}\.\d+", listed, re.M)
    return versions[-1]


def built(number: str) -> Path:
    """Return the path where build-etcd puts a version, built or not."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ctdb-etcd" / number / "etcd"
