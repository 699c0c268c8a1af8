# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Test support: real etcd clusters, a proxy that makes the network faulty, and the program run as ctdbd runs it.

Everything here is bounded in time and uses its own ports on 127.0.0.1. It leaves nothing behind, even when the test run
is killed.
"""

from pathlib import Path

# The root of the source tree.
TREE = Path(__file__).resolve().parents[2]
