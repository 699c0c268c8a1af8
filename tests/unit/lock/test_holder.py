# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the value in the key: what ours contains, that it stays the same, and how others' values are described."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ctdb_etcd import __version__
from ctdb_etcd.lock.holder import Holder, Key, describe, process_state, proof, read


def test_value_describes_the_holder_and_its_times_and_does_not_change():
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


def test_unknown_node_number_is_written_as_null():
    assert json.loads(Holder(9, 2.0, "nonce", lambda: lambda: None).text())["pnn"] is None


def test_holder_is_described_by_the_value_it_wrote():
    who = {"node": "n1", "pnn": 0, "pid": 7, "since": "then"}
    assert describe(json.dumps(who)) == "node n1, pnn 0, pid 7, since then"
    assert describe(json.dumps({**who, "pnn": None})) == "node n1, pid 7, since then"
    assert describe("") == "somebody else" and "'x'" in describe("x")


OURS = Holder(9, 2.0, "nonce", lambda: lambda: 3).text()
NO_TEXT = [None, 7, True, [], {}, "x" * 256]
NO_NUMBER = [None, "7", True, -1, 7.0, float("inf"), float("nan"), 1 << 63, 10**400, []]
NO_SECONDS = [None, "7", True, 0, -1, 1e9, float("inf"), float("nan"), 10**400, []]
WRONG = {
    **dict.fromkeys(["node", "since", "version", "boot_id", "nonce"], NO_TEXT),
    **dict.fromkeys(["pid", "start_time", "pid_namespace", "time_namespace"], NO_NUMBER),
    **dict.fromkeys(["lock_ttl", "refresh"], NO_SECONDS),
    "pnn": NO_NUMBER[1:],
}


def test_our_value_is_read_back_in_full_without_unknown_fields():
    assert read(OURS) == json.loads(OURS) and read(OURS).keys() == WRONG.keys()
    assert read(json.dumps({**json.loads(OURS), "more": 1})) == read(OURS)
    assert len(OURS) < 1024


@pytest.mark.parametrize("field, wrong", [(field, wrong) for field, all_wrong in WRONG.items() for wrong in all_wrong])
def test_field_with_an_impossible_value_is_ignored(field, wrong):
    who = read(json.dumps({**json.loads(OURS), field: wrong}))
    assert who == {name: found for name, found in json.loads(OURS).items() if name != field}


def test_value_longer_than_ours_can_be_is_ignored():
    who = json.dumps({**json.loads(OURS), "more": "x" * 4096})
    assert read(who) == {} and read("9" * 10_000_000) == {}


@pytest.mark.parametrize("length, good", [(4096, True), (4097, False)])
def test_a_value_of_4096_characters_is_read(length, good):
    who = json.dumps({"node": "n", "more": ""})
    assert read(who[:-2] + "x" * (length - len(who)) + who[-2:]) == ({"node": "n"} if good else {})


LARGEST = [("node", "x" * 255), ("lock_ttl", 86400), ("refresh", 86400.0), ("refresh", 0.5)]
LARGEST += [("pid", (1 << 63) - 1), ("pid", 0)]


@pytest.mark.parametrize("field, found", LARGEST, ids=lambda part: str(part)[:20])
def test_field_at_the_limits_of_its_kind_is_read(field, found):
    assert read(json.dumps({field: found})) == {field: found}


@pytest.mark.parametrize("seconds", [86400.5, 86401, 0, -1])
def test_times_over_a_day_or_not_positive_are_ignored(seconds):
    assert read(json.dumps({"lock_ttl": seconds})) == {}


def test_key_has_the_given_values():
    key = vars(Key("/x/1", "v", 2, 3, 4, 5))
    assert key == {"name": "/x/1", "value": "v", "revision": 2, "modified": 3, "lease": 4, "left": 5, "ttl": None}


def test_proof_without_proc_has_only_the_pid(monkeypatch):
    def missing(pid):
        raise FileNotFoundError(2, "No such file or directory", "/proc/self/stat")

    monkeypatch.setattr("ctdb_etcd.lock.holder.process_state", missing)
    assert proof("nonce") == {"pid": os.getpid()}


def test_missing_kind_of_namespace_has_number_zero(monkeypatch):
    real = os.stat

    def stat(path, *args, **kwargs):
        if path == "/proc/self/ns/time":
            raise FileNotFoundError(2, "No such file or directory", path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", stat)
    who = proof("nonce")
    assert who["time_namespace"] == 0 and who["pid_namespace"] == real("/proc/self/ns/pid").st_ino


@pytest.mark.parametrize("text", ["", "x", "1", "null", "[]", '"{}"', "[" * 100000, "[" * 4096, "{"])
def test_value_that_is_no_object_describes_nobody(text):
    assert read(text) == {} and describe(text).startswith("somebody else")


def test_line_breaks_and_brackets_in_a_process_name_hide_nothing():
    comm = Path("/proc/self/comm")
    name, state = comm.read_text().rstrip("\n"), process_state("self")
    try:
        for other in (b"a\nb) Z 1 2", b"\xff\xfe"):
            comm.write_bytes(other)
            assert process_state("self") == state
    finally:
        comm.write_text(name)
