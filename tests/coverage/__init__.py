# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Which branches of the package the tests take: `make coverage`.

The helper runs with python3 -I and an environment of its own, so no variable and no .pth file of the tests reaches it.
In its place runs a program that begins to record and then becomes it (`CTDB_ETCD_LOCK` names it, see
tests/support/helper.py). Recording makes it start later, so tests of times may fail: this is not part of make check.
What a signal kills, as the kernel timer does, leaves no record.
"""
