# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Faults of the network: partitions of every shape, loss, delay, reordering, duplication, resets."""

from __future__ import annotations

from itertools import permutations
from typing import Optional

from .delay import QUEUES, REORDERING
from .nemesis import LONG, World, fault
from .network import Harm, Way


def _ways(world: World) -> tuple[str, list[Way]]:
    """Choose a label and ways: between a node and all members, a node and one member, two members, or a member and all.

    The ways have one direction or both.
    """
    node, member = world.node().name, world.member().name
    members = [each.name for each in world.etcd.members]
    others = [each for each in members if each != member]
    shape = world.random.choice(["node", "node", "node", "pair", "members", "member"])
    if shape == "node":
        label, pairs = f"{node} and etcd", [(node, each) for each in members]
    elif shape == "pair":
        label, pairs = f"{node} and {member}", [(node, member)]
    elif shape == "members":
        other = world.random.choice(others)
        label, pairs = f"{member} and {other}", [(member, other)]
    else:
        label, pairs = f"{member} and all", [(each.name, member) for each in world.nodes]
        pairs += [(member, other) for other in others]
    direction = world.random.choice(["both", "there", "back"])
    there, back = pairs, [(b, a) for a, b in pairs]
    ways = {"both": there + back, "there": there, "back": back}[direction]
    return label + {"both": "", "there": ", one way", "back": ", the other way"}[direction], ways


def _hit(world: World, harm: Harm) -> str:
    label, ways = _ways(world)
    world.undo(world.seconds(), world.network.apply(harm, ways))
    return label


@fault("partition", 6)
def cut(world: World) -> Optional[str]:
    return _hit(world, world.network.drop())


@fault(f"holder cut off {LONG}", 2)
def cut_holder(world: World) -> Optional[str]:
    """Cut the holder off from all of etcd: requests, answers, or both."""
    node = next((node.name for node in world.nodes if node.holder), None)
    if node is None or not world.claim("holder cut off"):
        return None
    requests = [(node, member.name) for member in world.etcd.members]
    answers = [(member, node) for node, member in requests]
    ways = world.random.choice([requests, answers, requests + answers])
    world.undo(world.longer_than_a_lease(), world.network.apply(world.network.drop(), ways), "holder cut off")
    return node


@fault("loss", 2)
def lose(world: World) -> Optional[str]:
    return _hit(world, world.network.drop(world.random.uniform(0.05, 0.7)))


@fault("delay", 3)
def delay(world: World) -> Optional[str]:
    queue = world.random.choice([n for n in range(1, len(QUEUES) + 1) if n not in REORDERING])
    return _hit(world, world.network.delay(queue))


@fault("reordering")
def reorder(world: World) -> Optional[str]:
    return _hit(world, world.network.delay(world.random.choice(REORDERING)))


@fault("duplication")
def double(world: World) -> Optional[str]:
    return _hit(world, world.network.double())


@fault("connections refused", 2)
def refuse(world: World) -> Optional[str]:
    return _hit(world, world.network.refuse(world.random.choice([0.1, 0.5, 1.0])))


@fault("connections reset", 2)
def reset(world: World) -> Optional[str]:
    node = world.node().name
    world.network.reset(node, *(member.name for member in world.etcd.members))
    return node


@fault("narrow line", 0.7)
def narrow(world: World) -> Optional[str]:
    node = world.node().name
    if not world.claim(f"{node} line"):
        return None
    world.undo(world.seconds(), world.network.narrow(node, world.random.choice([4000, 20000, 100000])), f"{node} line")
    return node


@fault("split", 0.7)
def split(world: World) -> Optional[str]:
    """Split nodes and members into two halves that cannot reach each other."""
    hosts = [node.name for node in world.nodes] + [member.name for member in world.etcd.members]
    half = {host for host in hosts if world.random.random() < 0.5}
    ways = [(a, b) for a, b in permutations(hosts, 2) if (a in half) != (b in half) and "etcd" in a + b]
    if not ways or not world.claim("split"):
        return None
    world.undo(world.seconds(), world.network.apply(world.network.drop(), ways), "split")
    return ", ".join(sorted(half))


@fault(f"holder's answers late, then nothing, {LONG}", 2)
def late_then_silent(world: World) -> Optional[str]:
    """Delay the answers, then drop the requests while an answer is under way: its lease began long ago."""
    holders = [node.name for node in world.nodes if node.holder]
    if not holders or not world.claim(f"{holders[0]} late"):
        return None
    node = holders[0]
    members = [member.name for member in world.etcd.members]
    queue = world.random.choice({3: [3, 4, 5], 4: [3, 4, 5], 9: [5, 6, 6, 6], 15: [7]}[world.record.ttl])
    wait = QUEUES[queue - 1][0] + world.random.uniform(0.3, 1.5)
    undos = [world.network.apply(world.network.delay(queue), [(member, node) for member in members])]

    def silence() -> None:
        undos.append(world.network.apply(world.network.drop(), [(node, member) for member in members]))

    def end() -> None:
        for undo in undos:
            undo()

    world.later(wait, silence)
    world.undo(wait + world.record.ttl + 2, end, f"{node} late")
    return node
