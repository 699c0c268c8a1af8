# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the nemesis: for how long it waits without faults until somebody holds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.chaos import nemesis
from tests.chaos.checker import LIVENESS

TTL = 3


@pytest.fixture
def wait(monkeypatch):
    """`wait(share, holds_at)` lets be_quiet wait on a fake clock; return what it records."""
    clock = SimpleNamespace(now=1000.0)

    def advance(seconds):
        clock.now += seconds

    monkeypatch.setattr(nemesis, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=advance))

    def run(share, holds_at=float("inf")):
        def start_a_program():
            advance(0.05)
            return share

        monkeypatch.setattr(nemesis, "processor_share", start_a_program)
        world = SimpleNamespace(
            record=SimpleNamespace(quiets=[], ttl=TTL),
            driver=SimpleNamespace(holders=lambda: clock.now >= 1000 + holds_at),
            random=SimpleNamespace(uniform=lambda least, most: most),
        )
        nemesis.be_quiet(world)
        (quiet,) = world.record.quiets
        return quiet

    return run


def test_lock_that_nobody_holds_is_noticed_after_a_lease_and_6_s(wait):
    quiet = wait(0.9)
    assert quiet.held is None and quiet.waited >= TTL + LIVENESS
    assert quiet.gave_up - quiet.began == pytest.approx(TTL + LIVENESS, abs=1)


def test_time_on_a_busy_machine_does_not_count(wait):
    quiet = wait(0.5)
    assert quiet.waited == 0 and 120 < quiet.gave_up - quiet.began < 121


def test_the_wait_ends_when_somebody_holds(wait):
    quiet = wait(0.9, holds_at=2)
    assert quiet.held - quiet.began == pytest.approx(2, abs=0.1) and quiet.gave_up is None
