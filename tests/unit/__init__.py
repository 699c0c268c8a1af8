# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests that need neither root nor etcd and take milliseconds: `make check-unit`. Their folders mirror the package."""
