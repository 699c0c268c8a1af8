# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The value in the key: what it says of us, the same each time, and how those of others are described."""

from __future__ import annotations

import json
import os

import pytest

from ctdb_etcd import __version__
from ctdb_etcd.lock.holder import Holder, describe, proof, read


def test_the_value_says_who_and_how_and_is_the_same_each_time():
    asked = []
    holder = Holder(9, 2.0, "nonce", lambda: asked.append("begun") or (lambda: 3))
    holder.begin()
    assert asked == ["begun"]
    text = holder.text()
    who = json.loads(text)
    assert who["since"].endswith("Z") and {**who, "since": ""} == {
        "node": os.uname().nodename,
        "pnn": 3,
        "since": "",
        "version": __version__,
        "lock_ttl": 9,
        "refresh": 2.0,
        **proof("nonce"),
    }
    assert holder.text() is text and asked == ["begun"]


def test_a_node_whose_number_is_not_known_says_so():
    assert json.loads(Holder(9, 2.0, "nonce", lambda: lambda: None).text())["pnn"] is None


def test_who_holds_is_described_by_what_they_wrote():
    who = {"node": "n1", "pnn": 0, "pid": 7, "since": "then"}
    assert describe(json.dumps(who)) == "node n1, pnn 0, pid 7, since then"
    assert describe(json.dumps({**who, "pnn": None})) == "node n1, pid 7, since then"
    assert describe("") == "somebody else" and "'x'" in describe("x")


@pytest.mark.parametrize("text", ["", "x", "1", "null", "[]", '"{}"', "[" * 100000, "{"])
def test_what_is_no_object_says_nothing_of_anybody(text):
    assert read(text) == {} and describe(text).startswith("somebody else")
