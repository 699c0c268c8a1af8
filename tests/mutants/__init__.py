# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Mutation tests: each small change of the program must make a test fail. `make mutants`; docs/testing.md has more."""
