# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the program on a real etcd, without CTDB. Those that also need root (for namespaces) are marked so."""
