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
    """`wait(share, holds_at, alarm)` lets be_quiet wait on a fake clock; return what it records.

    From second `alarm` on, etcd has an alarm until it is silenced.
    """
    clock = SimpleNamespace(now=1000.0)

    def advance(seconds):
        clock.now += seconds

    monkeypatch.setattr(nemesis, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=advance))

    def run(share, holds_at=float("inf"), alarm=float("inf")):
        alarms = [1000 + alarm]

        def silence_all():
            raised = [moment for moment in alarms if moment <= clock.now]
            alarms[:] = [moment for moment in alarms if moment > clock.now]
            return bool(raised)

        def start_a_program():
            advance(0.05)
            return share

        monkeypatch.setattr(nemesis, "processor_share", start_a_program)
        world = SimpleNamespace(
            record=SimpleNamespace(quiets=[], ttl=TTL),
            etcd=SimpleNamespace(silence_all=silence_all),
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


def test_alarm_that_takes_effect_late_is_silenced_and_does_not_count(wait):
    quiet = wait(0.9, alarm=4)
    assert quiet.waited == pytest.approx(quiet.gave_up - quiet.began - 0.2, abs=0.01)


def test_the_wait_ends_when_somebody_holds(wait):
    quiet = wait(0.9, holds_at=2)
    assert quiet.held - quiet.began == pytest.approx(2, abs=0.1) and quiet.gave_up is None
