# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Real things for the tests: etcd, a faulty network in front of it, and the program run as ctdbd runs it.

Everything here is bounded in time, uses ports of its own on 127.0.0.1 and leaves nothing behind, not even when the
test run is killed.
"""

from pathlib import Path

# The root of the source.
TREE = Path(__file__).resolve().parents[2]
