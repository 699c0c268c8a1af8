# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of "make install" and "make uninstall": what they leave in place is what this version has."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.support import TREE

DOCUMENTS = ("README.md", "NEWS", "SECURITY.md", "CONTRIBUTING.md")
PARTS = ("Makefile", *DOCUMENTS, "ctdb_etcd_lock.py", "ctdb_etcd", "docs", "etc", "man", "rpm")


@pytest.fixture
def make(tmp_path):
    tree = tmp_path / "a tree"
    for name in PARTS:
        copy = shutil.copytree if (TREE / name).is_dir() else shutil.copy
        tree.mkdir(exist_ok=True)
        copy(TREE / name, tree / name)
    # The page need not be made from its source here.
    page = tree / "man" / "ctdb-etcd.7"
    page.touch()

    def run(target):
        command = ["make", "-C", str(tree), target, f"DESTDIR={tmp_path}/root", "prefix=/usr/local"]
        subprocess.run(command, check=True, capture_output=True)
        return {str(path.relative_to(tmp_path / "root")) for path in (tmp_path / "root").rglob("*") if path.is_file()}

    return run


def test_newer_version_keeps_the_configuration_and_no_old_module(make, tmp_path):
    first = make("install")
    helper = tmp_path / "root/usr/local/libexec/ctdb"
    modules = {path.relative_to(TREE) for path in (TREE / "ctdb_etcd").rglob("*.py")}
    assert all((helper / path).exists() for path in [*modules, "ctdb_etcd_lock"])
    (helper / "ctdb_etcd" / "old.py").touch()
    conf = tmp_path / "root/etc/ctdb/ctdb_etcd_lock.conf"
    conf.write_text("host = etcd1\n")
    assert make("install") == first and conf.read_text() == "host = etcd1\n"


def test_uninstall_leaves_only_the_configuration(make):
    make("install")
    assert make("uninstall") == {"etc/ctdb/ctdb_etcd_lock.conf"}
