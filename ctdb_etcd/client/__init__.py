# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""etcd's client: where etcd is (endpoints, srv), how to connect (race) and talk to it (http1, tls, login), how long to
keep trying (retry), one client for each API (v3, v2), with the same few verbs: call, health, and what v3's answers say
(v3_answers) and mean where they are refusals (v3_errors).

May import config, errors, waiting and log; knows nothing of the lock or of CTDB.
"""
