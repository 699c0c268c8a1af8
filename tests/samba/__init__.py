# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""CTDB's own tests, which Samba's sources have, with this lock in place of CTDB's. `make check-samba`."""
