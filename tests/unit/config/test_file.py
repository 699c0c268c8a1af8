# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the choice of the file: the named one, or the default one, which need not exist."""

from __future__ import annotations

import pytest

from ctdb_etcd.config import file
from ctdb_etcd.errors import Refused

NAME = "ctdb_etcd_lock.conf"


@pytest.fixture
def base(monkeypatch, tmp_path):
    monkeypatch.setenv("CTDB_BASE", str(tmp_path))
    return tmp_path


def test_default_file_is_in_the_directory_of_ctdb(monkeypatch, base):
    assert file.default_path() == f"{base}/{NAME}"
    for unset in lambda: monkeypatch.setenv("CTDB_BASE", ""), lambda: monkeypatch.delenv("CTDB_BASE"):
        unset()
        assert file.default_path() == f"/etc/ctdb/{NAME}"


def test_default_file_is_read_unless_another_is_named(base):
    (base / NAME).write_bytes(b"default")
    (base / "other").write_bytes(b"other")
    assert file.read(None) == b"default"
    assert file.read(str(base / "other")) == b"other"


def test_default_file_that_does_not_exist_is_empty(base):
    assert file.read(None) == b""


def test_named_file_that_does_not_exist_is_refused(base):
    with pytest.raises(Refused) as refused:
        file.read(f"{base}/none")
    assert str(refused.value) == f"{base}/none: No such file or directory: name a file that can be read"


def test_default_file_that_cannot_be_read_is_refused(base):
    (base / NAME).mkdir()
    with pytest.raises(Refused) as refused:
        file.read(None)
    assert str(refused.value) == f"{base}/{NAME}: Is a directory: name a file that can be read"
