# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Faults of etcd: its members, its maintenance, and an administrator who removes the wrong thing."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Optional

from ctdb_etcd import __version__
from tests.support.member import Member

from .nemesis import ALARM, World, fault
from .record import Removal

# Values that somebody may write over a holder's value.
NONSENSE = [
    "",
    "them",
    "[" * 5000,
    json.dumps({"version": __version__, "node": ["x"], "pid": float("inf"), "nonce": None}),
    json.dumps({"version": __version__, "lock_ttl": 10**400, "refresh": 0.5}),
]


def _down(world: World, member: Optional[Member], pause: bool) -> Optional[str]:
    if member is None or not world.claim(member.name):
        return None
    if pause:
        member.pause()
        world.undo(world.seconds(), member.resume, member.name)
    else:
        member.kill()
        world.undo(world.seconds(), member.start, member.name)
    return member.name


@fault("member killed")
def kill_member(world: World) -> Optional[str]:
    return _down(world, world.member(), False)


@fault("member stopped")
def stop_member(world: World) -> Optional[str]:
    return _down(world, world.member(), True)


@fault("leading member killed", 0.5)
def kill_leader(world: World) -> Optional[str]:
    return _down(world, world.etcd.leader(), False)


@fault("leading member stopped", 0.5)
def stop_leader(world: World) -> Optional[str]:
    return _down(world, world.etcd.leader(), True)


@fault("member restarted")
def restart_member(world: World) -> Optional[str]:
    member = world.member()
    if member.name in world.under:
        return None
    member.restart()
    return member.name


@fault("leadership transferred", 2)
def transfer_leader(world: World) -> Optional[str]:
    leader = world.etcd.leader()
    if leader is None:
        return None
    others = [member for member in world.etcd.members if member is not leader and member.name not in world.under]
    if not others:
        return None
    target = world.random.choice(others)
    answer = world.etcd.post("maintenance/transfer-leadership", {"targetID": target.ids(0.3)[0]}, leader)
    return None if answer is None else f"{leader.name} to {target.name}"


@fault("history compacted")
def compact(world: World) -> Optional[str]:
    # Never beyond the last revision that our own watches have seen.
    answer = world.etcd.post("kv/compaction", {"revision": world.driver.seen})
    return None if answer is None else f"revision {world.driver.seen}"


@fault("member defragmented")
def defragment(world: World) -> Optional[str]:
    member = world.member()
    answer = world.etcd.post("maintenance/defragment", {}, member)
    return None if answer is None else member.name


@fault(ALARM)
def raise_alarm(world: World) -> Optional[str]:
    own, _ = world.member().ids(0.3)
    if not own or not world.claim("alarm"):
        return None
    world.etcd.post("maintenance/alarm", {"action": "ACTIVATE", "memberID": own, "alarm": "NOSPACE"})
    world.undo(min(1.5, world.seconds()), partial(world.etcd.silence, own), "alarm")
    return "all"


@fault("value overwritten")
def overwrite_value(world: World) -> Optional[str]:
    keys = world.etcd.keys()
    if not keys:
        return None
    key = str(world.random.choice(keys)["key"])
    return key if world.etcd.overwrite(key, world.random.choice(NONSENSE)) else None


@fault("key deleted", 1.5)
def delete_key(world: World) -> Optional[str]:
    return _remove(world, False)


@fault("lease revoked", 1.5)
def revoke_lease(world: World) -> Optional[str]:
    return _remove(world, True)


def _remove(world: World, lease: bool) -> Optional[str]:
    keys = [key for key in world.etcd.keys() or [] if key["lease"] or not lease]
    if not keys:
        return None
    key = world.random.choice(keys)
    began = time.monotonic()
    # Recorded before the request, which may take effect even without an answer.
    removal = Removal(key["key"], began, float("inf"))
    world.record.removals.append(removal)
    if world.etcd.revoke(key["lease"]) if lease else world.etcd.delete(key["key"]):
        removal.ended = time.monotonic()
    return str(key["key"])
