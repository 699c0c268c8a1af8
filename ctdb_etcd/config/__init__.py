# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The configuration file: its contents (file), how they are parsed (parse), and every key with its type, default and
rules (keys).

May import errors and fence; knows nothing of etcd, CTDB or Samba.
"""
