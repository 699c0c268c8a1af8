# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The operator's view, --status and --check: their command and text, their verdicts (status, check), and what they look
at: each endpoint (endpoint_health; what is read of a member itself is its client's health) and the keys of the lock
(lock_keys).

May import everything but main. A contender never imports this wing.
"""
