# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""CTDB's side: status character, signals and the parent's death (process), the life of the lock from taking to release
(hold), the commands that Samba and CTDB answer (commands), the cluster's name (cluster_name), and what CTDB's own files
set (settings).

May import lock, config, errors, waiting, fence and log; knows nothing of etcd.
"""
