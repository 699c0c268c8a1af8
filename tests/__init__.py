# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Everything that tries the program. Each folder says in its first lines what is in it and what it needs."""
