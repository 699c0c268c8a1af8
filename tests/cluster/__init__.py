# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests in a real CTDB cluster in its own namespace. They need root, ctdbd and etcd."""
