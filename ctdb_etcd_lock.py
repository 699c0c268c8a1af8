#!/usr/bin/python3 -IS
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""CTDB's cluster lock, kept in etcd: the command that ctdbd runs. See ctdb-etcd(7).

All of it is in the package beside it, since Python compiles a script again at every start.
"""

import gc
import os
import sys

if __name__ == "__main__":
    # The collector takes a twentieth of a start, and finds no garbage. A holder switches it on again (ctdb/hold.py).
    gc.disable()
    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
    import ctdb_etcd  # noqa: F401

    # Nothing else may be imported from here: a file of CTDB's could have the name of one of Python's modules.
    del sys.path[0]
    from ctdb_etcd.main import main

    os._exit(main(sys.argv[1:]))
