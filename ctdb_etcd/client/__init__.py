# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""etcd's client: where etcd is (endpoints, srv), connecting to whichever address answers first (race), talking to it
(http1, tls, login), how long to keep trying (retry), and one client for each API, which makes the calls, shows what a
member reports of itself (health) and notices news (a watch): v3, with what its answers mean (v3_answers), and v2, by
python-etcd over v2_http, which logs each operation under the name that lock/v2 gives it.

May import config, errors, waiting, fence and log; knows nothing of the lock or of CTDB.
"""
