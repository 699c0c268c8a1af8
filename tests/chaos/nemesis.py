# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The nemesis: draws faults, one on top of the other, and undoes each when its time is over.

A fault is a function of the World: it does its harm and returns whom it hit, or None if there was nothing to harm. It
leaves to the World what must be undone (`undo`) or done later (`later`).
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from random import Random
from typing import Callable, Optional, Sequence

from tests.support.member import Member

from .driver import Driver
from .etcd import StormyEtcd
from .groups import Groups
from .network import Network
from .nodes import FakeNode, Run
from .record import Fault, Quiet, Record

Action = Callable[[], object]
FaultFunction = Callable[["World"], Optional[str]]

# How the names of those kinds end that hit the holder until its lease is over.
LONG = "until its lease is over"

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
    """What a fault can act on."""

    nodes: list[FakeNode]
    etcd: StormyEtcd
    network: Network
    driver: Driver
    record: Record
    groups: dict[str, Groups]
    random: Random
    only: str = ""  # what is in the names of those kinds of faults that are wanted
    under: set[str] = field(default_factory=set)  # what is broken now, so that it is not broken twice
    quickest_start: float = 10.0  # s that a program took to start and end when nothing was in its way
    _agenda: list[tuple[float, Action]] = field(default_factory=list)
    _now: Optional[Fault] = None
    _healed: int = 0  # how many faults were undone

    def node(self) -> FakeNode:
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
        least, most = self.random.choices([(0.05, 0.8), (0.8, ttl), (ttl, ttl + 3)], [8, 2, 1])[0]
        return self.random.uniform(least, most)

    def longer_than_a_lease(self) -> float:
        return self.random.uniform(2, 3) + self.record.ttl

    def claim(self, thing: str) -> bool:
        """Whether nothing has broken this thing yet; from now on something has."""
        if thing in self.under:
            return False
        self.under.add(thing)
        return True

    def undo(self, seconds: float, action: Action, thing: str = "") -> None:
        """Do this when the fault's time is over, or when all is healed."""
        assert self._now
        now = self._now

        def act() -> None:
            action()
            self.under.discard(thing)
            now.ended = time.monotonic()

        self._agenda.append((time.monotonic() + seconds, act))

    def later(self, seconds: float, action: Action) -> None:
        """Do this later, or not at all if all is healed before."""
        self._agenda.append((time.monotonic() + seconds, _Skippable(action)))

    def kinds(self) -> list[str]:
        """The kinds of faults that can be drawn."""
        return [kind for kind in FAULTS if self.only in kind and kind not in self.record.not_here]

    def draw(self, kinds: Sequence[str] = ()) -> bool:
        """One fault (of these kinds); whether what was drawn found something to harm."""
        kinds = kinds or self.kinds()
        kind = self.random.choices(kinds, [FAULTS[kind][0] for kind in kinds])[0]
        self._now = Fault(kind, "", time.monotonic())
        target = FAULTS[kind][1](self)
        if target is not None:
            self._now.target = target
            self.record.faults.append(self._now)
        return target is not None

    def due(self) -> None:
        """Do what is due."""
        self._do([entry for entry in self._agenda if entry[0] <= time.monotonic()])

    def heal(self) -> None:
        """Undo everything now."""
        while self._agenda:
            self._do([entry for entry in self._agenda if not isinstance(entry[1], _Skippable)])
            self._agenda = [entry for entry in self._agenda if not isinstance(entry[1], _Skippable)]
        self.under.clear()
        if any(fault.kind == "alarm: no space" for fault in self.record.faults[self._healed :]):
            self.etcd.wait_silent(15)
        self._healed = len(self.record.faults)

    def _do(self, entries: list[tuple[float, Action]]) -> None:
        for entry in sorted(entries, key=lambda e: e[0]):
            self._agenda.remove(entry)
            entry[1]()


class _Skippable:
    def __init__(self, action: Action) -> None:
        self._action = action

    def __call__(self) -> None:
        self._action()


def torment(world: World, until: float, gap: float, enough: Callable[[], bool] = lambda: False) -> None:
    """Storms of faults, `gap` seconds from one to the next on average, and between them single ones that outlast the
    holder's lease, so that another one takes over. All is healed after each. Until then (monotonic seconds) or until
    it is enough."""
    long = [kind for kind in world.kinds() if kind.endswith(LONG)]
    while time.monotonic() < until:
        if not long or world.random.random() < 0.4:
            _go_on(world, time.monotonic() + world.random.uniform(3, 12), gap)
        elif world.draw(long):
            seconds = world.record.ttl + world.random.uniform(3, 4.5)
            _go_on(world, time.monotonic() + seconds, world.random.choice([0.4, 2, 8]))
        world.heal()
        be_quiet(world)
        if enough():
            return


def _go_on(world: World, until: float, gap: float) -> None:
    """Draw faults; those that last longer than it are cut short by whoever heals."""
    following = time.monotonic() + world.random.expovariate(1 / gap)
    while time.monotonic() < until:
        if time.monotonic() >= following:
            world.draw()
            following = max(time.monotonic() - 0.2, following) + world.random.expovariate(1 / gap)
        world.due()
        time.sleep(max(0, min(0.02, following - time.monotonic())))
        if world.driver.error:
            raise world.driver.error


def be_quiet(world: World, extra: float = 6.2) -> None:
    """Without faults, until somebody holds; for a lease and `extra` seconds at most.

    Time in which the machine, used by others too, starts programs at less than half its speed does not count.
    """
    quiet = Quiet(time.monotonic())
    world.record.quiets.append(quiet)
    last = quiet.began
    while quiet.waited < world.record.ttl + extra and last < quiet.began + 120:
        for _ in range(20):
            if world.driver.holders():
                quiet.held = time.monotonic()
                time.sleep(world.random.uniform(0, 0.5))
                return
            time.sleep(0.01)
        start = time.monotonic()
        subprocess.run([sys.executable, "-I", "-c", "import http.client, json"], check=True)
        now = time.monotonic()
        world.quickest_start = min(world.quickest_start, now - start)
        quiet.waited += now - last if now - start < 2 * world.quickest_start else 0
        last = now
    quiet.gave_up = time.monotonic()
