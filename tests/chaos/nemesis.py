# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The nemesis: draws faults, which can overlap, and undoes each when its time is over.

A fault is a function of the World. It does its harm and returns its target, or None if there was nothing to harm. It
registers with the World what must be undone (`undo`) or done later (`later`).
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from random import Random
from typing import Callable, Optional, Sequence

from tests.support.machine import wait_until
from tests.support.member import Member

from .driver import Driver
from .etcd import StormyEtcd
from .groups import Groups
from .network import Network
from .nodes import FakeNode, Run
from .record import Fault, Quiet, Record

Action = Callable[[], object]
FaultFunction = Callable[["World"], Optional[str]]

# The suffix of the kinds that hit the holder until its lease is over.
LONG = "until its lease is over"
ALARM = "alarm: no space"

# Every kind of fault by name: its weight in the draw, and its function.
FAULTS: dict[str, tuple[float, FaultFunction]] = {}


def fault(kind: str, weight: float = 1.0) -> Callable[[FaultFunction], FaultFunction]:
    """Register a function as a fault of this kind."""

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
    only: str = ""  # the text that the names of the wanted kinds contain
    under: set[str] = field(default_factory=set)  # the things that are broken now, so that none is broken twice
    _agenda: list[tuple[float, Action]] = field(default_factory=list)
    _now: Optional[Fault] = None

    def node(self) -> FakeNode:
        """Return a node, most often one that holds."""
        holders = [node for node in self.nodes if node.holder]
        return self.random.choice(holders if holders and self.random.random() < 0.65 else self.nodes)

    def run(self) -> Optional[Run]:
        """Return a helper of a node: its holder if it has one; None if no helper runs."""
        node = self.node()
        runs = [run for run in list(node.runs.values()) if run.operation.exited is None]
        return node.holder or (self.random.choice(runs) if runs else None)

    def member(self) -> Member:
        return self.random.choice(self.etcd.members)

    def seconds(self) -> float:
        """Return how long a fault lasts: most often less than a lease, sometimes longer."""
        ttl = self.record.ttl
        least, most = self.random.choices([(0.05, 0.8), (0.8, ttl), (ttl, ttl + 3)], [8, 2, 1])[0]
        return self.random.uniform(least, most)

    def longer_than_a_lease(self) -> float:
        return self.random.uniform(2, 3) + self.record.ttl

    def claim(self, thing: str) -> bool:
        """Mark the thing as broken; return False if it already is."""
        if thing in self.under:
            return False
        self.under.add(thing)
        return True

    def undo(self, seconds: float, action: Action, thing: str = "") -> None:
        """Run `action` when the fault's time is over, or when all is healed."""
        assert self._now
        now = self._now

        def act() -> None:
            action()
            self.under.discard(thing)
            now.ended = time.monotonic()

        self._agenda.append((time.monotonic() + seconds, act))

    def later(self, seconds: float, action: Action) -> None:
        """Run `action` later, or not at all if all is healed before."""
        self._agenda.append((time.monotonic() + seconds, _Skippable(action)))

    def kinds(self) -> list[str]:
        """Return the kinds of faults that can be drawn."""
        return [kind for kind in FAULTS if self.only in kind and kind not in self.record.not_here]

    def draw(self, kinds: Sequence[str] = ()) -> bool:
        """Draw one fault (of these kinds); return whether it found something to harm."""
        kinds = kinds or self.kinds()
        kind = self.random.choices(kinds, [FAULTS[kind][0] for kind in kinds])[0]
        self._now = Fault(kind, "", time.monotonic())
        target = FAULTS[kind][1](self)
        if target is not None:
            self._now.target = target
            self.record.faults.append(self._now)
        return target is not None

    def due(self) -> None:
        """Run the actions that are due."""
        self._do([entry for entry in self._agenda if entry[0] <= time.monotonic()])

    def heal(self) -> None:
        """Undo everything now."""
        while self._agenda:
            self._do([entry for entry in self._agenda if not isinstance(entry[1], _Skippable)])
            self._agenda = [entry for entry in self._agenda if not isinstance(entry[1], _Skippable)]
        self.under.clear()
        if any(fault.kind == ALARM for fault in self.record.faults):
            wait_until(lambda: self.etcd.silence_all() is False, "the end of etcd's alarms", 60, pause=0.05)

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
    """Inject storms of faults, on average `gap` seconds apart, and between the storms single faults that outlast the
    holder's lease, so that another node takes over. Heal everything after each. Stop at `until` (monotonic seconds),
    or as soon as `enough` returns True."""
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
    """Draw faults until `until`. The caller then heals all, which cuts longer faults short."""
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
    """Wait without faults until somebody holds, for a lease and `extra` seconds at most.

    Time does not count while other work on the machine leaves a program that starts too little of a processor, nor
    while etcd has an alarm that a fault raised.
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
        counts = not world.etcd.silence_all() and processor_share() > 0.7
        now = time.monotonic()
        quiet.waited += now - last if counts else 0
        last = now
    quiet.gave_up = time.monotonic()


def processor_share() -> float:
    """Start a program that computes, and return which part of a processor it had."""
    start = time.monotonic()
    pid = os.posix_spawn(sys.executable, [sys.executable, "-I", "-c", "import http.client, json"], os.environ)
    _, status, used = os.wait4(pid, 0)
    assert status == 0
    return float(used.ru_utime + used.ru_stime) / (time.monotonic() - start)
