# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The machines of tests/vm, booted once for all tests. `make check-vm` provides the disk and the package."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Iterator

import pytest

from tests.support.machine import Scratch

from .pair import Pair


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    """Both machines with the package. etcd runs, CTDB does not, and the SELinux module is not loaded."""
    scratch = Scratch()
    package = Path(os.environ["VM_PACKAGE"])
    files = scratch.path / "files.tar"
    subprocess.run(["tar", "-C", package.parent, "-cf", files, package.name], check=True)
    machines = Pair(scratch.path, Path(os.environ["VM_IMAGE"]), files)
    try:
        machines.set_up()
        yield machines
    finally:
        machines.close()
        scratch.close()
