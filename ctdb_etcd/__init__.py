# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The private package of ctdb_etcd_lock; nothing here is an interface for others."""

import sys

__version__ = "0.1"


def find_packages() -> None:
    """Let the modules of the distribution be found, which few need: python3 -S does not look for them at the start."""
    if "site" not in sys.modules:
        import site

        site.main()
