# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The lock: in each API (v3 and v2, which log what happens to it; v3_lease is the lease under v3's key), which of them
a configuration means (open, v2_served), what must be true of etcd before it is held (one_etcd), what may be taken over
(takeover), and the value in the key (holder).

May import client, config, errors, waiting, fence and log; knows nothing of CTDB.
"""
