# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Faults of nodes: their helpers, their ctdbd, their clock, processor and memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional

from tests.support.helper import full_pipe

from .groups import CPU, FREEZER, MEMORY
from .nemesis import LONG, World, fault
from .nodes import Run


@fault("helper killed", 3)
def kill_helper(world: World) -> Optional[str]:
    return _signal(world.run(), signal.SIGKILL, "KILL")


@fault("helper asked to end", 3)
def end_helper(world: World) -> Optional[str]:
    return _signal(world.run(), signal.SIGTERM, "TERM")


def _signal(run: Optional[Run], number: int, reason: str) -> Optional[str]:
    if run is None:
        return None
    run.signal(number, reason)
    return run.operation.node


@fault("helper stopped", 3)
def stop_helper(world: World) -> Optional[str]:
    return _stop(world, world.run(), world.seconds())


@fault(f"holder stopped {LONG}", 1)
def stop_holder(world: World) -> Optional[str]:
    holders = world.driver.holders()
    return _stop(world, holders[0] if holders else None, world.longer_than_a_lease())


def _stop(world: World, run: Optional[Run], seconds: float) -> Optional[str]:
    if run is None or not world.claim(f"pid {run.operation.pid}"):
        return None
    stopped = run
    thing, operation = f"pid {run.operation.pid}", run.operation
    run.signal(signal.SIGSTOP)
    if not _is_stopped(operation.pid):
        run.signal(signal.SIGCONT)
        world.under.discard(thing)
        return None
    span: list[Optional[float]] = [time.monotonic(), None]
    operation.stops.append(span)

    def go_on() -> None:
        span[1] = time.monotonic()
        stopped.signal(signal.SIGCONT)

    world.undo(seconds, go_on, thing)
    return operation.node


def _is_stopped(pid: int) -> bool:
    """Wait up to 0.2 s for the process to stop, and return whether it did. SIGSTOP does not take effect at once."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
        except OSError:
            return False
        if state == "T":
            return True
        time.sleep(0.002)
    return False


@fault("node frozen", 2)
def freeze_node(world: World) -> Optional[str]:
    node = world.node()
    groups = world.groups[node.name]
    if not world.claim(f"{node.name} frozen"):
        return None
    groups.on(FREEZER)
    since = groups.frozen()
    if since is None:
        groups.off(FREEZER)
        world.under.discard(f"{node.name} frozen")
        return None
    node.stopped_since = since
    for run in list(node.runs.values()):
        run.operation.stops.append([since, None])

    def thaw() -> None:
        now = time.monotonic()
        node.stopped_since = None
        for operation in world.record.operations:
            for span in operation.stops:
                if span[0] == since and operation.node == node.name:
                    span[1] = now
        groups.off(FREEZER)

    world.undo(world.seconds(), thaw, f"{node.name} frozen")
    return node.name


@fault("node starved of the processor")
def starve_node(world: World) -> Optional[str]:
    node = world.node()
    groups = world.groups[node.name]
    if not world.claim(f"{node.name} starved") or not groups.on(CPU, world.random.choice([1000, 3000, 10000])):
        return None
    world.undo(world.seconds(), lambda: groups.off(CPU), f"{node.name} starved")
    return node.name


@fault("node short of memory")
def squeeze_node(world: World) -> Optional[str]:
    node = world.node()
    groups = world.groups[node.name]
    if not world.claim(f"{node.name} memory"):
        return None
    node.under.append("memory")
    for run in list(node.runs.values()):
        run.operation.asked.append("memory")
    groups.on(MEMORY, groups.memory_used() + world.random.randrange(0, 4 << 20))

    def relieve() -> None:
        groups.off(MEMORY)
        node.under.remove("memory")

    world.undo(world.random.uniform(0.1, 2), relieve, f"{node.name} memory")
    return node.name


@fault("ctdbd killed", 2)
def kill_ctdbd(world: World) -> Optional[str]:
    node = world.node()
    # A frozen process cannot even be killed.
    if not node.ctdbd or f"{node.name} frozen" in world.under or not world.claim(f"{node.name} ctdbd"):
        return None
    for run in list(node.runs.values()):
        run.operation.asked.append("parent")
    node.down = True
    node.ctdbd.kill()
    # One hundredth of a processor, shared with its helpers, is little for the end of a process: seconds were seen.
    node.ctdbd.wait(60)

    def boot() -> None:
        node.down = False

    world.undo(world.random.uniform(0.05, 1), boot, f"{node.name} ctdbd")
    return node.name


@fault("ctdbd stopped")
def stop_ctdbd(world: World) -> Optional[str]:
    node = world.node()
    if not node.ctdbd or not world.claim(f"{node.name} ctdbd"):
        return None
    ctdbd = node.ctdbd
    # The OOM killer may already have ended it.
    ctdbd.send_signal(signal.SIGSTOP)
    world.undo(world.seconds(), lambda: ctdbd.send_signal(signal.SIGCONT), f"{node.name} ctdbd")
    return node.name


@fault("stdout without a reader")
def close_stdout(world: World) -> Optional[str]:
    run = world.run()
    if run is None or run.stdout is None:
        return None
    running = run
    run.operation.asked.append("reader")
    world.driver.do(lambda: world.driver.close_stdout(running, time.monotonic()))
    return run.operation.node


@fault("log stuck")
def stick_log(world: World) -> Optional[str]:
    node = world.node()
    if node.stderr is not None or not world.claim(f"{node.name} log"):
        return None
    reader, writer = full_pipe()
    node.stderr = writer

    def repair() -> None:
        node.stderr = None
        os.close(reader)
        os.close(writer)

    world.undo(world.seconds(), lambda: world.driver.do(repair), f"{node.name} log")
    return node.name


@fault("node's wall clock moved")
def move_clock(world: World) -> Optional[str]:
    nodes = [node for node in world.nodes if "FAKETIME_TIMESTAMP_FILE" in node.env]
    node = world.random.choice(nodes)
    file = Path(node.env["FAKETIME_TIMESTAMP_FILE"])

    def move(seconds: int) -> None:
        new = file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(file)

    if not world.claim(f"{node.name} clock"):
        return None
    move(world.random.choice([-86400, -3600, -5, 5, 3600, 86400 * 400]))
    world.undo(world.seconds(), lambda: move(0), f"{node.name} clock")
    return node.name


@fault("processor hogged", 0.5)
def hog_processor(world: World) -> Optional[str]:
    if not world.claim("processor"):
        return None
    hogs = [subprocess.Popen([sys.executable, "-I", "-c", "while True: pass"]) for _ in range(4)]

    def end() -> None:
        for hog in hogs:
            hog.kill()
            hog.wait(60)

    world.undo(world.random.uniform(0.2, 1.5), end, "processor")
    return "all"
