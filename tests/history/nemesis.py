# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The nemesis: draws faults, one upon the other, and undoes each when its time is over.

A fault is a function of the World: it does its harm and returns whom it hit, or None if there was nothing to harm. It
leaves to the World what is to be undone (`undo`), or done later (`later`).
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Callable, Optional

from .driver import Driver
from .etcd import Etcd, Member
from .groups import Groups
from .network import Network
from .nodes import Node, Run
from .record import Fault, Quiet, Record

Action = Callable[[], object]
FaultFunction = Callable[["World"], Optional[str]]

# Every kind of fault by its name: how often it is drawn, and the function.
FAULTS: dict[str, tuple[float, FaultFunction]] = {}


def fault(kind: str, weight: float = 1.0) -> Callable[[FaultFunction], FaultFunction]:
    """A function that is a fault of this kind."""

    def enter(function: FaultFunction) -> FaultFunction:
        FAULTS[kind] = weight, function
        return function

    return enter


@dataclass
class World:
    """What a fault may lay hands on."""

    nodes: list[Node]
    etcd: Etcd
    network: Network
    driver: Driver
    record: Record
    groups: dict[str, Groups]
    random: random.Random
    under: set[str] = field(default_factory=set)  # what is broken now, so that it is not broken twice
    _agenda: list[tuple[float, Action]] = field(default_factory=list)
    _now: Optional[Fault] = None

    def node(self) -> Node:
        """A node: most often one that holds."""
        holders = [node for node in self.nodes if node.holder]
        return self.random.choice(holders if holders and self.random.random() < 0.65 else self.nodes)

    def run(self) -> Optional[Run]:
        """A helper: that which holds, if the node's does."""
        node = self.node()
        runs = [run for run in list(node.runs.values()) if run.operation.exited is None]
        return node.holder or (self.random.choice(runs) if runs else None)

    def member(self) -> Member:
        return self.random.choice(self.etcd.members)

    def seconds(self) -> float:
        """How long a fault lasts: most often less than a lease, at times more."""
        ttl = self.record.ttl
        least, most = self.random.choices([(0.05, 0.8), (0.8, ttl), (ttl, ttl + 2.5)], [7, 3, 1.3])[0]
        return self.random.uniform(least, most)

    def claim(self, thing: str) -> bool:
        """Whether nothing has broken this thing yet; from now on something has."""
        if thing in self.under:
            return False
        self.under.add(thing)
        return True

    def undo(self, seconds: float, action: Action, thing: str = "") -> None:
        """Do this when the fault's time is over, or when all is healed."""
        fault = self._now
        assert fault

        def act() -> None:
            action()
            self.under.discard(thing)
            fault.ended = time.monotonic()

        self._agenda.append((time.monotonic() + seconds, act))

    def later(self, seconds: float, action: Action) -> None:
        """Do this later, or not at all if all is healed before."""
        self._agenda.append((time.monotonic() + seconds, _Skippable(action)))

    def draw(self) -> None:
        """One fault, if what was drawn finds something to harm."""
        kinds = [kind for kind in FAULTS if kind not in self.record.not_here]
        kind = self.random.choices(kinds, [FAULTS[kind][0] for kind in kinds])[0]
        self._now = Fault(kind, "", time.monotonic())
        target = FAULTS[kind][1](self)
        if target is not None:
            self._now.target = target
            self.record.faults.append(self._now)

    def due(self) -> None:
        """Do what is due."""
        self._do([entry for entry in self._agenda if entry[0] <= time.monotonic()])

    def heal(self) -> None:
        """Undo everything now."""
        while self._agenda:
            self._do([entry for entry in self._agenda if not isinstance(entry[1], _Skippable)])
            self._agenda = [entry for entry in self._agenda if not isinstance(entry[1], _Skippable)]
        self.under.clear()

    def _do(self, entries: list[tuple[float, Action]]) -> None:
        for entry in sorted(entries, key=lambda e: e[0]):
            self._agenda.remove(entry)
            entry[1]()


class _Skippable:
    def __init__(self, action: Action) -> None:
        self._action = action

    def __call__(self) -> None:
        self._action()


def torment(world: World, until: float, gap: float) -> None:
    """Faults every `gap` seconds on average, with healed moments between, until then (monotonic seconds)."""
    while time.monotonic() < until:
        respite = min(until, time.monotonic() + world.random.uniform(6, 16))
        while time.monotonic() < respite:
            world.draw()
            rest = time.monotonic() + min(1.0, world.random.expovariate(1 / gap))
            while True:
                world.due()
                left = rest - time.monotonic()
                if left <= 0:
                    break
                time.sleep(min(left, 0.02))
            if world.driver.error:
                raise world.driver.error
        world.heal()
        be_quiet(world)


def be_quiet(world: World, patience: float = 6.0) -> None:
    """Without faults, until somebody holds; for a lease and `patience` seconds at most."""
    quiet = Quiet(time.monotonic())
    world.record.quiets.append(quiet)
    while time.monotonic() < quiet.began + world.record.ttl + patience + 0.2:
        if world.driver.holders():
            quiet.held = time.monotonic()
            time.sleep(world.random.uniform(0, 0.5))
            return
        time.sleep(0.01)
    quiet.gave_up = time.monotonic()
