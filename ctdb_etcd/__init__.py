# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The private package of ctdb_etcd_lock; nothing here is an interface for others.

The command is main; errors, waiting (deadlines), fence (the end of a holder before its lease) and log serve all wings.
"""

__version__ = "0.1"
