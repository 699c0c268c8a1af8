# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Benchmarks of the helper and of others that hold a lock for CTDB or in etcd: `make bench`.

All run on one machine in one session and take turns, so a disturbance affects all of them. The ratios of the medians
count. Nothing here fails because something was slow.
"""
