# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""How fast the helper is beside others that hold a lock for CTDB or in etcd: `make bench`.

All run on one machine at one time, by turns, so that what disturbs one disturbs all; what counts are the ratios of
medians. Nothing here fails because something was slow.
"""
