# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests that only whole machines allow: a holder that is paused, suspended, without power, or with another date.

Each test begins with the lock on the machine without etcd, and prints what it has measured. Most of the time until
another node holds is CTDB's: its election goes on only once it has given up the silent node, after some 25 s.
"""

from __future__ import annotations

import time

import pytest

from .machine import Machine
from .pair import TAKEN, Pair, measured

# CTDB logs this when the helper has ended.
KNOWN = "Cluster lock helper terminated"
# From this line on nobody gets a record of smbd's databases.
RECOVERY = "Recovery mode set to ACTIVE"


@pytest.fixture
def holder(pair: Pair) -> Machine:
    pair.load_module()
    return pair.led_by_first()


@pytest.fixture
def other(pair: Pair, holder: Machine) -> Machine:
    return pair.other(holder)


def when_taken(pair: Pair, other: Machine, since: float) -> float:
    """Return when the other node got the lock after that moment, by our clock."""
    return pair.wait_log(other, TAKEN, since + other.offset()) - other.offset()


def show_end(pair: Pair, holder: Machine, since: float, stop: str) -> None:
    """Print how soon CTDB on the former holder notices and recovers after that moment, when it went on (our clock)."""
    for text, what in (
        (KNOWN, "CTDB knows that the helper has ended"),
        (RECOVERY, "a recovery keeps smbd from its databases"),
    ):
        # Search from a second before: the clocks are compared to some hundredths only. CTDB had nothing to log then.
        moment = pair.wait_log(holder, text, since - 1 + holder.offset()) - holder.offset()
        measured(f"{what} after {stop}", max(0.0, moment - since))


def test_paused_machine_loses_lock_and_ends_helper_when_continued(pair: Pair, holder: Machine, other: Machine) -> None:
    paused = time.time()
    holder.pause()
    measured("another node holds after the begin of the pause", when_taken(pair, other, paused) - paused)
    time.sleep(5)
    continued = time.time()
    holder.go_on()
    show_end(pair, holder, continued, "the pause")


def test_suspended_machine_loses_lock_and_ends_helper_when_woken(pair: Pair, holder: Machine, other: Machine) -> None:
    asleep = time.time()
    holder.suspend()
    measured("another node holds after the begin of suspend", when_taken(pair, other, asleep) - asleep)
    time.sleep(5)
    woken = time.time()
    holder.wake()
    show_end(pair, holder, woken, "suspend")


def test_clock_set_back_and_forth_by_hours_costs_no_lock(pair: Pair, holder: Machine, other: Machine) -> None:
    helper, taken = pair.helper(holder), pair.count(other, TAKEN)
    for change in "-7 hours", "+7 hours":
        pair.on_both(lambda node: node.run(f"date -s '{change}'"))
        time.sleep(30)
        assert helper and pair.helper(holder) == helper and pair.count(other, TAKEN) == taken, pair.describe()
    # CTDB's recovery daemon does not recover now: it sleeps for as long as the clock was set back.
    pair.on_both(lambda node: node.run("systemctl stop ctdb"))


def test_lock_of_machine_without_power_is_taken_by_other(pair: Pair, holder: Machine, other: Machine) -> None:
    cut = time.time()
    holder.power_off()
    measured("another node holds after a power cut", when_taken(pair, other, cut) - cut)
