# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Measures the time from exec to the status character, and from SIGTERM until others could have the lock.

The peers take turns: each runs once in each round, and each round begins with another peer.
"""

from __future__ import annotations

import time
from typing import Sequence

from tests.support.helper import Helper

from .figures import Figures
from .peers import ETCDCTL, Peer

TABLE = "starts"
HOLDING, CONTENTION, FREE = "0", "1", "SIGTERM to free"
BARE = "python3 -I -c pass"

# s: a longer time counts as never.
LONGEST = 12.0


def measure(peers: Sequence[Peer], rounds: int, figures: Figures) -> None:
    """Measure all peers. A round takes about five seconds."""
    for turn in range(rounds):
        at = turn % len(peers)
        for peer in [*peers[at:], *peers[:at]]:
            _once(peer, figures)
        with Helper(None, "-I", "-c", "pass", program="/usr/bin/python3") as bare:
            figures.add(TABLE, BARE, CONTENTION, bare.wait_exit() - bare.started)


def _once(peer: Peer, figures: Figures) -> None:
    try:
        with peer.start() as holder:
            answer = holder.status()
            # etcdctl prints the name of its key.
            assert answer == ("/" if peer.name == ETCDCTL else "0"), holder.describe()
            figures.add(TABLE, peer.name, HOLDING, holder.answered_after)
            if peer.contends:
                with peer.start() as contender:
                    assert contender.status() == "1", contender.describe()
                    figures.add(TABLE, peer.name, CONTENTION, contender.answered_after)
                    contender.wait_exit()
            figures.add(TABLE, peer.name, FREE, _free(peer, holder))
    finally:
        peer.clean()


def _free(peer: Peer, holder: Helper) -> float:
    held = set(peer.keys())
    assert held, f"{peer} holds nothing"
    asked = time.monotonic()
    holder.terminate()
    while held.intersection(peer.keys()):
        if time.monotonic() > asked + LONGEST:
            return float("inf")
    return time.monotonic() - asked
