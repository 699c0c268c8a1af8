# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Control groups, one set for each node. They freeze the node, limit its processor time, or limit its memory.

Versions 1 and 2; `has` reports which controllers are usable on this machine. The groups belong to the machine and
outlive a killed run, so a shell outside the run's namespace waits for the end of the run and removes them.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Optional

ROOT = Path("/sys/fs/cgroup")
FREEZER, CPU, MEMORY = "freezer", "cpu", "memory"

# Controller: file, and the values that turn the limit on and off; {} is the number that the fault chooses.
_V1 = {
    FREEZER: ("freezer.state", "FROZEN", "THAWED"),
    CPU: ("cpu.cfs_quota_us", "{}", "-1"),
    MEMORY: ("memory.limit_in_bytes", "{}", "-1"),
}
_V2 = {
    FREEZER: ("cgroup.freeze", "1", "0"),
    CPU: ("cpu.max", "{} 100000", "max 100000"),
    MEMORY: ("memory.max", "{}", "max"),
}
_JANITOR = (
    'read x; for i in 1 2 3 4 5 6 7 8 9; do for d in "$@"; do [ ! -e "$d" ] || rmdir "$d"/* "$d" 2>/dev/null;'
    " done; sleep 0.3; done"
)


def tops(name: str) -> list[str]:
    """Return every directory that a run of this name may create."""
    return [str(ROOT / name), *(str(ROOT / controller / name) for controller in _V1)]


def janitor(name: str) -> subprocess.Popen[bytes]:
    """Start a process that removes the groups of that name when our end of its stdin is closed, however we end."""
    argv = ["sh", "-c", _JANITOR, "janitor", *tops(name)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=-3, stderr=-3, start_new_session=True)


class Groups:
    """The groups of one node."""

    def __init__(self, name: str, node: str) -> None:
        self._files: dict[str, tuple[Path, str, str]] = {}
        self._dirs: set[Path] = set()
        one = not (ROOT / "cgroup.controllers").exists()
        for controller, (file, on, off) in (_V1 if one else _V2).items():
            top = ROOT / controller / name if one else ROOT / name
            try:
                (top / node).mkdir(parents=True, exist_ok=True)
                if not one and controller != FREEZER:
                    for above in (ROOT, top):
                        (above / "cgroup.subtree_control").write_text(f"+{controller}")
                (top / node / file).write_text(off)
            except OSError:
                continue
            self._files[controller] = (top / node / file, on, off)
            self._dirs.add(top / node)

    def has(self, controller: str) -> bool:
        return controller in self._files

    @property
    def prefix(self) -> list[str]:
        """The command prefix that runs a command in the groups."""
        join = "".join(f"echo 0 > {path}/cgroup.procs; " for path in sorted(self._dirs))
        return ["sh", "-c", f'{join}exec "$@"', "sh"] if self._dirs else []

    def on(self, controller: str, number: int = 0) -> bool:
        """Turn the limit on; return False if the kernel refuses (if memory is short, for example)."""
        file, on, _ = self._files[controller]
        try:
            file.write_text(on.format(number))
        except OSError:
            return False
        return True

    def off(self, controller: str) -> None:
        file, _, off = self._files[controller]
        file.write_text(off)

    def frozen(self, limit: float = 0.3) -> Optional[float]:
        """Wait up to `limit` s until all processes are frozen; return the moment, or None."""
        file = self._files[FREEZER][0]
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            v1 = file.name == "freezer.state"
            text = (file if v1 else file.with_name("cgroup.events")).read_text()
            if text.strip() == "FROZEN" if v1 else "frozen 1" in text:
                return time.monotonic()
            time.sleep(0.002)
        return None

    def memory_used(self) -> int:
        file = self._files[MEMORY][0]
        name = "memory.usage_in_bytes" if file.name == "memory.limit_in_bytes" else "memory.current"
        return int(file.with_name(name).read_text())

    def procs(self) -> int:
        """Return how many processes are in the node's groups."""
        path = next(iter(self._dirs), None)
        return len((path / "cgroup.procs").read_text().split()) if path and os.path.exists(path) else 0
