# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of CTDB's leader timeout: ctdb.conf's value or CTDB's default. --check compares acquire_timeout with it."""

from __future__ import annotations

import pytest

from ctdb_etcd.ctdb.leader_timeout import leader_timeout

TEXTS = [
    ("[cluster]\n    leader timeout = 12\n", 12),
    ("[logging]\nlocation = syslog\n[cluster]\ncluster lock = !/x -v\nLeader Timeout=3\n", 3),
    ("# [cluster]\n# leader timeout = 3\n", 5),
    ("[cluster]\nleader timeout = soon\n", 5),
    ("[cluster]\nleader timeout\n", 5),
    ("leader timeout = 3\n", 5),
    ("[legacy]\nleader timeout = 3\n", 5),
    ("\udcff[", 5),
    (None, 5),
]


@pytest.mark.parametrize("text, seconds", TEXTS)
def test_leader_timeout_is_that_of_ctdb_conf_or_ctdbs_default(tmp_path, monkeypatch, text, seconds):
    monkeypatch.setenv("CTDB_BASE", str(tmp_path))
    if text is not None:
        (tmp_path / "ctdb.conf").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert leader_timeout() == seconds
