# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Measures the cost of a minute of holding: processor time, memory, requests and bytes on the wire.

Memory is the proportional set size of each peer alone, with no other Python process running than this one. All peers
hold in the same minute, each with its own counting proxy in front of etcd.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Sequence

from tests.support.helper import Helper
from tests.support.proxy import Proxy

from .figures import Figures
from .peers import ETCDCTL, FCNTL, Peer, Peers

TABLE = "holding"
MEMORY, PROCESSOR, REQUESTS, BYTES = "PSS in MB", "processor seconds", "requests", "bytes"


def measure_memory(peers: Sequence[Peer], seconds: float, figures: Figures) -> None:
    """Measure each peer's memory after it has held alone for `seconds`."""
    for peer in peers:
        with peer.start() as holder:
            holder.status()
            time.sleep(seconds)
            pss = sum(_pss(pid) for pid in _session(holder.pid))
            figures.add(TABLE, peer.name, MEMORY, pss / 1e6)
            holder.terminate()
            holder.wait_exit()
        peer.clean()


def measure_minute(peers: Peers, seconds: float, figures: Figures) -> None:
    """Measure all peers at the same time, for `seconds`; the figures are scaled to a minute."""
    with ExitStack() as stack:
        proxies: list[Proxy] = []

        def via(endpoint: str) -> str:
            proxies.append(stack.enter_context(Proxy(endpoint)))
            return proxies[-1].endpoint

        # The fcntl helper does not use etcd, and etcdctl uses HTTP/2, which the proxy does not count.
        watched = [peer for peer in peers.all(via) if peer.name not in (FCNTL, ETCDCTL)]
        holders = [stack.enter_context(peer.start()) for peer in watched]
        for holder in holders:
            assert holder.status() == "0", holder.describe()
        time.sleep(1)
        before = [_state(holder, proxy) for holder, proxy in zip(holders, proxies)]
        time.sleep(seconds)
        after = [_state(holder, proxy) for holder, proxy in zip(holders, proxies)]
        for peer, old, new in zip(watched, before, after):
            for column, a, b in zip((PROCESSOR, REQUESTS, BYTES), old, new):
                figures.add(TABLE, peer.name, column, (b - a) * 60 / seconds)
        for holder in holders:
            holder.terminate()
            holder.wait_exit()
    for peer in watched:
        peer.clean()


def _state(holder: Helper, proxy: Proxy) -> tuple[float, int, int]:
    seen = proxy.seen()
    processor = sum(_processor_time(pid) for pid in _session(holder.pid))
    return processor, len(seen.requests), seen.bytes_to_etcd + seen.bytes_to_client


def _session(leader: int) -> list[int]:
    """Return the processes of a session: the support code gives each helper its own session."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(entry)) == leader:
                found.append(int(entry))
        except ProcessLookupError:
            pass
    return found


def _processor_time(pid: int) -> float:
    try:
        # The CPU clock of another process, ended threads included (clock_getcpuclockid(3)); /proc has only ticks.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0  # it is gone, or a zombie: Samba's helper leaves one


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
