# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Branch coverage of the package by the tests: `make coverage`.

The helper runs with python3 -I and its own environment, so no variable and no .pth file of the tests reaches it. The
tests start a wrapper instead, which begins to record and then becomes the helper (`CTDB_ETCD_LOCK` names it, see
tests/support/helper.py). Recording delays the start, so tests of times may fail: this is not part of make check.
A process that is killed by a signal, such as that of the kernel timer, leaves no record.
"""
