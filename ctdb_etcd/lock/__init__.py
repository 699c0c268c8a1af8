# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The lock: in each API (v3 over its v3_lease, v2; they log what happens to it), which of them a configuration means
(open, v2_served), what must be true of etcd before it is held (one_etcd), what may be taken over (takeover), and the
value in the key (holder).

May import client, config, errors, waiting, fence and log; knows nothing of CTDB.
"""
