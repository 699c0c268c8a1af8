# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""From the moment when somebody takes the lock away to the exit of its holder: so long there may be two.

The key is deleted in etcd, or another file put in the place of the lock's.
"""

from __future__ import annotations

import time
from typing import Sequence

from tests.support.helper import Helper

from .figures import Figures
from .peers import Peer

TABLE = "losses"
EXIT = "taken away to exit"

# s: more is no time, but never.
LONGEST = 12.0
# s: how often the slowest of them looks.
_LOOKS = 5.0
# The turns are spread over that, in step with nobody's looks.
_GOLDEN = 0.618


def measure(peers: Sequence[Peer], rounds: int, figures: Figures) -> None:
    """Each in turn; takes up to six seconds for each of them."""
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
