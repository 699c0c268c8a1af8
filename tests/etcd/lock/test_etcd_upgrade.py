# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of a holder while etcd is upgraded to newer releases.

When a member starts, it reads the log entries after its newest snapshot. etcd 3.6 exits at entries of v2, and 3.7 at
those with which 3.5 announces itself. So both need a snapshot first, and a cluster that keeps only a lock hardly ever
writes one.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable

import pytest

from tests.support import release
from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.upgrade import SNAPSHOTS, Upgrade


class Contenders:
    """Each call starts a contender, at most one a second, which must report contention."""

    def __init__(self, conf: Path) -> None:
        self._conf = conf
        self._last = 0.0
        self.came = 0

    def __call__(self) -> None:
        if time.monotonic() < self._last + 1:
            return
        self._last = time.monotonic()
        with Helper(self._conf) as contender:
            assert contender.status() == "1", contender.describe()
        self.came += 1


@pytest.mark.slow
def test_holder_keeps_the_lock_while_etcd_moves_to_3_7(
    built_etcd: Callable[[str], str], helper_conf: Callable[..., Path], lock_name: str
) -> None:
    old, *newer = (built_etcd(branch) for branch in ("3.5", "3.6", "3.7"))
    with Etcd(3, SNAPSHOTS, program=old) as etcd:
        conf = helper_conf(host=etcd.endpoints)
        with Helper(conf, "-v") as holder:
            assert holder.status() == "0", holder.describe()
            pid, before = holder.pid, etcd.keys(f"/_locks/_ctdb/{lock_name}/")
            contenders = Contenders(conf)
            upgrade = Upgrade(etcd, contenders)
            for program in newer:
                upgrade.move(program, SNAPSHOTS)
                upgrade.snapshot()
            assert contenders.came > 6
            assert (holder.pid, holder.alive, holder.stdout) == (pid, True, b"0"), holder.describe()
            assert etcd.keys(f"/_locks/_ctdb/{lock_name}/") == before
            holder.terminate()
            holder.wait_exit()
        with Helper(conf) as successor:
            assert successor.status() == "0", successor.describe()


@pytest.mark.slow
@pytest.mark.v2
def test_etcd_that_served_v2_moves_to_3_7_by_snapshots(
    built_etcd: Callable[[str], str], helper_conf: Callable[..., Path], lock_name: str
) -> None:
    newer = [built_etcd(branch) for branch in ("3.5", "3.6", "3.7")]
    with Etcd(3, release.v2_flags()) as etcd:
        conf = helper_conf(host=etcd.endpoints)
        upgrade = Upgrade(etcd)
        with Helper(conf) as both:
            assert both.status() == "0", both.describe()
            assert etcd.keys_v2(f"/_locks/_ctdb/{lock_name}")
            upgrade.move(newer[0], SNAPSHOTS)  # without --enable-v2
            both.wait_exit()
        with Helper(conf) as holder:
            assert holder.status() == "0", holder.describe()
            upgrade = Upgrade(etcd, Contenders(conf))
            upgrade.wait_at_rest()
            upgrade.snapshot()
            for program in newer[1:]:
                upgrade.move(program, SNAPSHOTS)
                upgrade.snapshot()
            assert holder.alive, holder.describe()


@pytest.mark.parametrize(
    "old, new, flags, words",
    [
        ("3.5", "3.6", ["--enable-v2=true"], "detected disallowed v2 WAL"),
        ("3.6", "3.7", [], "unmarshal should never fail"),
    ],
)
def test_next_etcd_exits_and_the_old_one_works_without_a_snapshot(
    built_etcd: Callable[[str], str], old: str, new: str, flags: list[str], words: str
) -> None:
    with Etcd(1, flags, program=built_etcd("3.5")) as etcd:
        (member,) = etcd.members
        upgrade = Upgrade(etcd)
        if flags:
            member.request("PUT", "/v2/keys/x?value=y")
        if old == "3.6":
            upgrade.move(built_etcd("3.6"))
        upgrade.exchange(member, built_etcd(new))
        upgrade.wait(lambda: member.exited, "etcd to give up")
        assert words in member.log(60)
        upgrade.exchange(member, built_etcd(old))
        upgrade.wait(member.healthy, "the old etcd to be healthy")
