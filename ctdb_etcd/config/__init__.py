# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The configuration file: every key with its type, default and rules (keys), and how the file is read (file).

May import errors and fence; knows nothing of etcd, CTDB or Samba.
"""
