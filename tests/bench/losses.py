# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Measures the time from the removal of the lock to the exit of its holder: there may be two holders for that long.

The lock is removed by deleting its key in etcd, or by replacing the lock file with another one.
"""

from __future__ import annotations

import time
from typing import Sequence

from tests.support.helper import Helper

from .figures import Figures
from .peers import Peer

TABLE = "losses"
EXIT = "taken away to exit"

# s: a longer time counts as never.
LONGEST = 12.0
# s: the interval between two checks of the slowest peer.
_LOOKS = 5.0
# Spreads the turns over that interval, out of step with the checks of every peer.
_GOLDEN = 0.618


def measure(peers: Sequence[Peer], rounds: int, figures: Figures) -> None:
    """Measure the peers in turn. The removal comes up to six seconds after the start of the peer."""
    for turn in range(rounds):
        for peer in peers:
            with peer.start() as holder:
                assert holder.status() == "0", holder.describe()
                time.sleep(1 + _LOOKS * (turn * _GOLDEN % 1))
                figures.add(TABLE, peer.name, EXIT, _exit(peer, holder))
            peer.clean()


def _exit(peer: Peer, holder: Helper) -> float:
    began = time.monotonic()
    peer.take_away()
    try:
        return holder.wait_exit(LONGEST) - began
    except AssertionError:
        return float("inf")
