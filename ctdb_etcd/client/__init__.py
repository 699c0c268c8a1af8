# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""etcd's client: where etcd is (endpoints, srv), how to talk to it (http1, tls, login), how long to keep trying
(retry), and one client for each API (v3, v2), with the same few verbs: call, health.

May import config, errors, waiting and log; knows nothing of the lock or of CTDB.
"""
