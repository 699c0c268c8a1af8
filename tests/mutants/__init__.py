# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Small changes of the program, one at a time: for each a test must fail. `make mutants`; docs/testing.md has more."""
