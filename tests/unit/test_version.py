# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the version: five files state the same one. The source archive has no debian/ (.gitattributes)."""

from __future__ import annotations

import re

import pytest

from ctdb_etcd import __version__
from tests.support import TREE

PLACES = {
    "debian/changelog": r"^ctdb-etcd \(([^-)]+)-",
    "rpm/ctdb-etcd.spec": r"^Version:\s+(\S+)$",
    "man/ctdb-etcd.7.xml": r'<refmiscinfo class="version">([^<]+)<',
    "NEWS": r"^(\d\S*) \(",
}


@pytest.mark.parametrize("place", [place for place in PLACES if (TREE / place).exists() or (TREE / ".git").exists()])
def test_version_is_the_same_everywhere(place):
    found = re.search(PLACES[place], (TREE / place).read_text(), re.MULTILINE)
    assert found and found[1] == __version__
