# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests that ctdb.conf is understood as CTDB understands it, by its own program."""

from __future__ import annotations

import os
import subprocess

import pytest

from ctdb_etcd.ctdb import settings

FILES = [
    "[cluster]\n    leader timeout = 17\n",
    "[cluster]\ncluster lock = !/x -v\n    leader timeout = 17\n",
    "[cluster]\nleader  timeout = 17\n",
    "[cluster]\nleader timeout = \\\n17\n",
    "[Cluster]\nleader timeout = 17\n",
    "[cluster]\n# a comment\n; another\nleader timeout=17\n",
    "[cluster]\nLeader Timeout = 17\n",
    "[cluster]\nleader timeout = 3\nleader timeout = 17\n",
    "[cluster]\n[logging]\nlocation = syslog\n",
]


@pytest.mark.parametrize("text", FILES)
def test_leader_timeout_is_what_ctdb_reads(tmp_path, monkeypatch, text):
    (tmp_path / "ctdb.conf").write_text(text)
    monkeypatch.setenv("CTDB_BASE", str(tmp_path))
    env = {**os.environ, "CTDB_TEST_MODE": "yes"}
    command = ["/usr/libexec/ctdb/ctdb-config", "get", "cluster", "leader timeout"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=True)
    assert settings.leader_timeout() == float(done.stdout)
