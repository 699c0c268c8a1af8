# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The lock: in each API (v3, v2), which of them a configuration means (open), what may be taken over (takeover), and
the value in the key (holder).

May import client, config, errors, waiting, fence and log; knows nothing of CTDB.
"""
