# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""One run, from its first process to its record. It must run inside its own namespace, which `__main__` creates."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Optional

from tests.support import TREE, release
from tests.support.machine import wait_until

from . import faults_etcd, faults_network, faults_nodes  # noqa: F401  they register themselves
from .checker import check
from .driver import Driver
from .etcd import StormyEtcd, last_words, stray
from .groups import CPU, FREEZER, MEMORY, Groups
from .nemesis import World, be_quiet, torment
from .network import Network, run
from .nodes import FakeNode
from .record import SAMBA, Record
from .sabotage import SABOTAGES
from .watch_v2 import DIRECTORY

RECORD = "/run/record.json"
PROGRAM = Path("/run/program/ctdb_etcd_lock.py")
SAMBAS_HELPER = "/usr/libexec/ctdb/ctdb_etcd_lock"
NONCE_FILES = Path("/run/ctdb")
LOCK = DIRECTORY.rpartition("/")[2]
FAKETIME = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib64/faketime/libfaketime.so.1")

# s for helpers to end once all is healed. They take 2, but on a busy machine importing python-etcd alone takes long.
END_TIME = 15
# Pairs of refresh and read_timeout that each lock_ttl allows, the most frequent refresh first.
TIMES: dict[int, list[tuple[float, float]]] = {
    3: [(0.2, 3), (0.5, 0.8), (1, 0.5)],
    4: [(0.3, 3), (0.5, 1), (1.5, 0.5)],
    9: [(0.5, 9), (2, 3), (4, 0.7)],
    15: [(1, 6)],
}


@dataclass
class Options:
    """The options of the run. `mix`: the kind of each node's helper (an `api`, "v3" for 3, or "samba")."""

    seconds: float
    seed: int
    mix: list[str]
    gap: float
    groups: str
    ttl: int = 0
    faults: str = ""
    sabotage: str = ""


def main() -> None:
    options = Options(**json.loads(sys.argv[1]))
    sys.setswitchinterval(0.001)
    record = Record(seed=options.seed, etcd=release.version())
    _copy_program(options.sabotage)
    # libfaketime leaves files in /dev/shm.
    run("mount", "-t", "tmpfs", "tmpfs", "/dev/shm")
    world = _build(options, record)
    record.began = time.monotonic()
    world.driver.start()
    be_quiet(world)

    def enough() -> bool:
        """Return whether the run can end: for a broken program, one violation is enough."""
        record.ended = time.monotonic()
        return bool(options.sabotage) and any(not violation.apart for violation in check(record))

    try:
        torment(world, record.began + options.seconds, options.gap, enough)
    finally:
        world.heal()
    _end(world)
    record.save(Path(RECORD))


def _copy_program(sabotage: str) -> None:
    """Copy the program, break one thing in it on request, and compile it as its package does."""
    shutil.copytree(TREE / "ctdb_etcd", PROGRAM.parent / "ctdb_etcd", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TREE / "ctdb_etcd_lock.py", PROGRAM)
    if sabotage:
        SABOTAGES[sabotage].apply(PROGRAM.parent)
    run("/usr/bin/python3", "-m", "compileall", "-q", str(PROGRAM.parent))


def _build(options: Options, record: Record) -> World:
    choose = random.Random(options.seed)
    broken = SABOTAGES.get(options.sabotage)
    record.ttl = choose.choice([3, 3, 3, 4, 9])
    record.ttl = options.ttl or (broken.ttl if broken else record.ttl)
    network = Network()
    v2 = release.serves_v2() and any(kind != "v3" for kind in options.mix)
    etcd = StormyEtcd(network, 3, v2)
    record.v2 = v2
    etcd.start()
    members = [*etcd.members, stray(network)] if broken and broken.stray else etcd.members
    hosts = [member.endpoint.split(":")[0] for member in members]
    faketime = next((path for pattern in FAKETIME for path in glob(pattern)), None)
    if faketime is None:
        record.not_here.append("node's wall clock moved")
    _answer_for_testparm_and_ctdb()
    nodes = []
    for number, kind in enumerate(options.mix, 1):
        network.add(f"node{number}")
        clock = faketime if number % 2 else None
        nodes.append(_node(number, kind, hosts, record.ttl, choose, clock, broken.hosts if broken else 0))
    groups = {node.name: Groups(options.groups, node.name) for node in nodes}
    # All nodes see all nonce files, as on one machine, or each node sees only its own.
    NONCE_FILES.mkdir()
    alone = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs "$0" && exec "$@"', str(NONCE_FILES)]
    one_machine = choose.random() < 0.3
    for node in nodes:
        node.prefix = [*groups[node.name].prefix, *([] if one_machine else alone)]
    needs = {
        "node frozen": FREEZER,
        "node starved of the processor": CPU,
        "node short of memory": MEMORY,
    }
    for kind, controller in needs.items():
        if not all(group.has(controller) for group in groups.values()):
            record.not_here.append(kind)
    driver = Driver(nodes, etcd, record, options.seed)
    return World(
        nodes, etcd, network, driver, record, groups, choose, options.faults or (broken.faults if broken else "")
    )


def _answer_for_testparm_and_ctdb() -> None:
    bin_ = Path("/run/bin")
    bin_.mkdir()
    for name, answer in (("testparm", LOCK), ("ctdb", "${CTDB_BASE##*node}")):
        (bin_ / name).write_text(f'#!/bin/sh\necho "{answer}"\n')
        (bin_ / name).chmod(0o755)


def _node(
    number: int, kind: str, hosts: list[str], ttl: int, choose: random.Random, faketime: Optional[str], most_hosts: int
) -> FakeNode:
    base = Path(f"/run/base/node{number}")
    base.mkdir(parents=True)
    env = {"PATH": "/run/bin:/usr/sbin:/usr/bin:/sbin:/bin", "CTDB_BASE": str(base)}
    hosts = list(hosts)
    choose.shuffle(hosts)
    if kind == SAMBA:
        (base / "etcd").write_text(f"host = {hosts[0]}\nlock_ttl = {ttl}\nlock_refresh = 1\n")
        return FakeNode(f"node{number}", kind, [SAMBAS_HELPER], env)
    if faketime:
        clock = base / "clock"
        clock.write_text("+0\n")
        env |= {"LD_PRELOAD": faketime, "FAKETIME_TIMESTAMP_FILE": str(clock)}
        env |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}
    refresh, read_timeout = choose.choice(TIMES[ttl])
    hosts = hosts[: most_hosts or choose.choice([1, 2, 3, 3, 3])]
    (base / "ctdb_etcd_lock.conf").write_text(
        f"host = {', '.join(hosts)}\nnetbios_name = {LOCK}\napi = {kind.removeprefix('v')}\nlock_ttl = {ttl}\n"
        f"refresh = {refresh}\nread_timeout = {read_timeout}\nacquire_timeout = {choose.choice([3, 6, 20])}\n"
    )
    return FakeNode(f"node{number}", kind, [str(PROGRAM), "-v"], env)


def _end(world: World) -> None:
    """Let all helpers end, then record what is left behind."""
    record = world.record
    time.sleep(0.5)
    world.driver.stop_taking()
    try:
        wait_until(lambda: not world.driver.busy(), "the end of all helpers", timeout=END_TIME)
    except AssertionError:
        for node in world.nodes:
            for left in node.runs.values():
                record.left.append(f"the process of {left.operation.name}, {END_TIME} s after it was asked to end")
                left.signal(signal.SIGKILL)
    # The key of a killed helper stays until its lease ends, and a new leader of etcd lengthens leases.
    try:
        wait_until(lambda: world.etcd.left() == [], "the leases' end", timeout=2 * record.ttl + 20, pause=0.2)
    except AssertionError:
        in_etcd = world.etcd.left()
        record.left += ["what is in etcd is unknown: it does not answer"] if in_etcd is None else in_etcd
    time.sleep(0.3)
    assert world.network.delays, "the process that delays packets has ended"
    world.driver.finish()
    if world.driver.error:
        raise world.driver.error
    record.ended = time.monotonic()
    left_over = subprocess.run(["pgrep", "-af", str(PROGRAM)], stdout=subprocess.PIPE, text=True).stdout
    record.left += [f"process {line}" for line in left_over.splitlines()]
    for node in world.nodes:
        record.lines[node.name] = node.log.read_text(errors="replace").splitlines() if node.log.exists() else []


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        print(last_words())
        raise
