# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Rolling upgrade of an etcd cluster to other binaries or flags, member by member, as an administrator does it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable, Sequence

from . import release
from .etcd import Etcd
from .member import Member

# Make a snapshot every second write, so that etcd reads nothing older at its start.
SNAPSHOTS = ["--snapshot-count=1"]


def newest_snapshot(data: Path) -> int:
    """Return the raft index of the newest snapshot in a member's data directory; 0 if there is none."""
    files = (data / "member" / "snap").glob("*.snap")
    return max((int(file.stem.rpartition("-")[2], 16) for file in files), default=0)


class Upgrade:
    """An upgrade of the members of a running cluster; every wait calls `meanwhile` repeatedly.

    Each method that waits raises AssertionError with the members' logs after 60 s.
    """

    def __init__(self, etcd: Etcd, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.etcd = etcd
        self._meanwhile = meanwhile

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the condition is true."""
        deadline = time.monotonic() + 60
        while not condition():
            self._meanwhile()
            if time.monotonic() > deadline:
                logs = "\n".join(f"{member.name}: {member.log()}" for member in self.etcd.members)
                raise AssertionError(f"waited 60 s in vain for {what}\n{logs}")
            time.sleep(0.05)

    def exchange(self, member: Member, program: str, args: Sequence[str] = ()) -> None:
        """Stop a member, unless it has exited, and start this binary on its data; do not wait for the start."""
        if not member.exited:
            member.terminate()
        self.wait(lambda: member.exited, f"{member.name} to stop")
        member.program, member.extra_args = program, list(args)
        member.start()

    def move(self, program: str, args: Sequence[str] = ()) -> None:
        """Move all members, one after the other, and wait until the cluster has the new version."""
        for member in self.etcd.members:
            self.exchange(member, program, args)
            self.wait(member.healthy, f"{member.name} to be healthy")
        version = release.version_of(program).rpartition(".")[0] + ".0"

        def agreed() -> bool:
            answers = [member.request("GET", "/version") for member in self.etcd.members]
            return all(answer.get("etcdcluster") == version for answer in answers)

        # Until the members agree, etcd refuses the next release.
        self.wait(agreed, f"the cluster to be of version {version}")

    def wait_at_rest(self) -> None:
        """Wait until 2 s pass without a write; etcd itself writes while v2 keys are left that expire."""
        last = 0.0, -1

        def rests() -> bool:
            nonlocal last
            now, index = time.monotonic(), max(map(_applied, self.etcd.members))
            if index != last[1]:
                last = now, index
            return now - last[0] > 2

        self.wait(rests, "the end of writes")

    def snapshot(self) -> None:
        """Write keys, and wait until every member has a snapshot of all earlier writes."""
        index = max(map(_applied, self.etcd.members))
        for _ in range(3):
            self.etcd.put("/snapshot", "")
        data = [member.data for member in self.etcd.members]
        self.wait(lambda: min(map(newest_snapshot, data)) >= index, "a snapshot of every member")


def _applied(member: Member) -> int:
    return int(member.request("POST", "/v3/maintenance/status").get("raftAppliedIndex", 0))
