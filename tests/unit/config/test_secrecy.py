# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the warning about a password in a file that others may read, by mode and group."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from ctdb_etcd.config import parse as config

PASSWORD = b"username = u\npassword = p\n"


@pytest.mark.parametrize(
    "mode, gid, warned",
    [
        (0o600, 0, False),
        (0o600, 100, False),
        (0o640, 100, True),
        # Read permission for root's group gives nobody else access.
        (0o640, 0, False),
        (0o620, 100, False),
        (0o604, 0, True),
        (0o644, 100, True),
        (0o602, 0, False),
        (0o400, 100, False),
    ],
)
def test_password_in_a_file_that_others_may_read_is_a_warning(monkeypatch, mode, gid, warned):
    real = os.stat
    file = SimpleNamespace(st_mode=0o100000 | mode, st_gid=gid)
    monkeypatch.setattr(os, "stat", lambda path, **more: file if path == "/the.conf" else real(path, **more))
    assert [w.partition("password: ")[2] for w in config.parse("/the.conf", PASSWORD).warnings] == [
        "others may read this file: chmod 600 /the.conf"
    ] * warned
    assert not config.parse("/the.conf", b"port = 1\n").warnings


def test_file_removed_meanwhile_causes_no_warning(tmp_path):
    assert not config.parse(str(tmp_path / "none"), PASSWORD).warnings
