# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of members whose wall clocks differ: it changes no v3 lease, but the life of v2 keys by the difference."""

from __future__ import annotations

import platform
import time

import pytest

from tests.support import release
from tests.support.etcd import Etcd
from tests.support.machine import wait_until

pytestmark = [
    pytest.mark.v2,
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the clock of a member is moved on x86_64 only"),
]

TTL, AHEAD = 9, 3


@pytest.fixture(scope="module")
def etcd():
    """Three members; the wall clock of one is ahead."""
    with Etcd(3, release.v2_flags()) as etcd:
        fast = etcd.members[0]
        fast.kill()
        fast.clock_ahead = AHEAD
        fast.start()
        etcd.wait_healthy(60)
        yield etcd


def lead(etcd, member):
    """Make the member the leader."""
    leader = etcd.leader()
    if leader is not member:
        # Only the leader can hand over its role.
        etcd.etcdctl(f"--endpoints={leader.endpoint}", "move-leader", f"{int(member.ids()[0]):x}")
        wait_until(member.is_leader, "the leader to move")


def life_of_a_v2_key(etcd, asked):
    """Return the seconds from the creation of a key with a TTL of 9 s at the member `asked` to the key's end."""
    asked.request("PUT", f"/v2/keys/skew?value=x&ttl={TTL}", timeout=10)
    made = time.monotonic()
    observer = etcd.members[2]
    wait_until(lambda: observer.request("GET", "/v2/keys/skew?quorum=true", 10).get("errorCode") == 100, "its end")
    return time.monotonic() - made


def test_leader_whose_clock_is_ahead_shortens_v2_keys_but_no_v3_lease(etcd):
    fast, normal = etcd.members[:2]
    lead(etcd, fast)
    assert TTL - AHEAD - 1 < life_of_a_v2_key(etcd, normal) < TTL - AHEAD + 1.5
    lease = etcd.grant(TTL)
    granted = time.monotonic()
    wait_until(lambda: etcd.lease_left(lease) < 0, "the lease to end")
    assert TTL - 0.5 < time.monotonic() - granted


def test_member_whose_clock_is_ahead_lengthens_v2_keys_made_there(etcd):
    fast, normal = etcd.members[:2]
    lead(etcd, normal)
    assert TTL + AHEAD - 1 < life_of_a_v2_key(etcd, fast) < TTL + AHEAD + 2
