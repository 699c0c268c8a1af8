# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the checker of a chaos run: each rule finds its violation."""

from __future__ import annotations

import pytest

from tests.chaos.checker import check
from tests.chaos.plot import svg
from tests.chaos.record import SAMBA, Change, Fault, Operation, Quiet, Record, Removal
from tests.chaos.report import text


def holder(node, pid, answered, eof, **other):
    return Operation(node, other.pop("kind", "v3"), "take", pid, answered - 0.5, "0", answered, eof, eof, **other)


def keys(pid, revision, put, gone):
    key = f"/_locks/_ctdb/X/{pid:x}"
    return [Change(revision, key, True, pid, put), Change(revision + 1, key, False, 0, gone)]


def two_holders(first_eof=10.0, second_answered=11.0, **first):
    """Return a record that by default breaks no rule: one holder after the other, each with a key while it holds."""
    record = Record(ttl=3, began=0, ended=20)
    record.operations = [holder("node1", 7, 1, first_eof, **first), holder("node2", 8, second_answered, 15)]
    record.changes = keys(7, 2, 0.9, 10.5) + keys(8, 4, 10.9, 15.5)
    return record


def broken(record):
    return sorted({violation.rule for violation in check(record) if not violation.apart})


def test_one_holder_after_the_other_is_accepted():
    assert broken(two_holders()) == []


def test_two_holders_at_one_time_are_found():
    assert broken(two_holders(first_eof=11.01)) == ["gone before the key", "no two hold"]


def test_holder_that_outlives_its_key_is_found_without_an_overlap():
    assert broken(two_holders(first_eof=10.6)) == ["gone before the key"]


def test_a_stopped_holder_does_not_count_until_it_is_continued():
    assert broken(two_holders(first_eof=14.01, stops=[[9.0, 14.0]], code=-14)) == []
    assert broken(two_holders(first_eof=16.5, stops=[[9.0, 14.0]], code=-14)) == ["gone before the key", "no two hold"]


@pytest.mark.parametrize("eof, found", [(18.9, False), (19.5, True)])
def test_process_that_is_starved_of_the_processor_has_longer_to_end(eof, found):
    record = two_holders(first_eof=eof, stops=[[9.0, 14.0]], code=-14)
    record.faults = [Fault("node starved of the processor", "node2", 13, 19)]
    assert broken(record)
    record.faults[0].target = "node1"
    assert bool(broken(record)) == found


def test_stopped_holder_that_does_not_end_by_its_timer_is_found():
    assert "no two hold" in broken(two_holders(first_eof=14.01, stops=[[9.0, 14.0]], code=0))


def test_holder_that_outlives_a_key_removed_by_the_nemesis_is_found():
    record = two_holders(first_eof=12.0)
    record.removals = [Removal(record.changes[0].key, 10.4, 10.5)]
    assert broken(record) == []
    record.operations[0].eof = 13.6
    assert broken(record) == ["gone before the key"]


@pytest.mark.parametrize("gone, eof", [(10.5, 10.0), (8.5, 8.6), (6.2, 8.4)], ids=["never", "late", "cut off"])
def test_removal_without_an_answer_counts_from_the_end_of_the_key(gone, eof):
    record = two_holders(first_eof=eof)
    record.changes[1].seen = gone
    record.removals = [Removal(record.changes[0].key, 5.0, float("inf"))]
    assert broken(record) == []
    record.operations[0].eof = gone + 3.1
    assert "gone before the key" in broken(record)


@pytest.mark.parametrize("began, ended, eof", [(7, 10.4, 10.6), (7, 10.4, 11.2), (3, 6, 10.6), (9, 10.4, 10.6)])
def test_key_that_a_former_leader_of_etcd_may_have_revoked_is_listed_apart(began, ended, eof):
    record = two_holders(first_eof=eof)
    record.faults = [Fault("leading member stopped", "etcd1", began, ended)]
    # It was stopped for more than half a lease, and has just gone on.
    assert (broken(record) == []) == ((began, ended) == (7, 10.4))
    assert check(record)
    record.operations[0].eof = 11.6
    assert "gone before the key" in broken(record)


def test_overlap_before_the_key_went_is_no_former_leaders():
    record = two_holders(first_eof=10.2, second_answered=10.0)
    record.changes[1].seen = 10.9
    record.faults = [Fault("member stopped", "etcd1", 8.5, 10.4)]
    assert "no two hold" in broken(record)


def test_an_overlap_of_sambas_helper_is_listed_separately():
    record = two_holders(first_eof=12, kind=SAMBA)
    record.changes[:2] = []
    assert broken(record) == []
    assert [violation.rule for violation in check(record)] == ["no two hold"]


def test_missing_v2_key_of_auto_is_found_only_if_v2_is_served():
    record = two_holders(kind="auto")
    record.operations[1].kind = "auto"
    assert broken(record) == ["a key to each hold"]
    record.v2 = False
    assert broken(record) == []


def test_a_holder_without_a_key_or_out_of_order_is_found():
    record = two_holders()
    record.changes = record.changes[:2]
    assert broken(record) == ["a key to each hold"]
    record = two_holders()
    record.changes[0].revision, record.changes[1].revision = 6, 7
    assert "a key to each hold" in broken(record)


def test_holder_that_had_to_make_another_v2_key_is_accepted():
    record = two_holders(kind="2")
    for change in record.changes:
        change.key = "v2:" + change.key
    record.operations[1].kind = "2"
    record.changes += [Change(0, "v2:/first", True, 7, 0.6), Change(1, "v2:/first", False, 0, 0.8)]
    assert broken(record) == []
    record.operations[0].eof = 10.6
    assert broken(record) == ["gone before the key"]


def test_two_keys_at_one_time_are_found():
    record = two_holders()
    record.changes[1].revision = 9
    assert broken(record) == ["one key at a time"]


def test_a_key_that_comes_back_is_found():
    record = two_holders()
    record.changes.append(Change(9, record.changes[0].key, True, 7, 16))
    assert broken(record) == ["no key comes back"]


def test_contention_without_a_holder_is_found():
    record = two_holders()
    record.operations.append(Operation("node3", "v3", "check", 9, 12, "1", 12.2, 12.2, 12.2, 1))
    assert broken(record) == []
    record.operations[2].started, record.operations[2].answered = 16, 16.2
    assert broken(record) == ["contention is real"]


@pytest.mark.parametrize("status, code", [("3", 3), ("", 0), ("11", 1)])
def test_a_bad_answer_is_found(status, code):
    record = two_holders()
    record.operations.append(Operation("node3", "v3", "check", 9, 12, status, 12.2, 12.3, 12.3, code))
    assert broken(record) == ["good answers"]


def test_missing_answer_of_a_terminated_helper_is_accepted():
    record = two_holders()
    record.operations.append(Operation("node3", "v3", "check", 9, 12, "", None, 12.3, 12.3, 0, asked=["TERM"]))
    assert broken(record) == []


@pytest.mark.parametrize("line", ["Traceback (most recent call last):", "ctdb_etcd_lock: this is a bug, please ..."])
def test_traceback_or_bug_report_in_the_log_is_found(line):
    record = two_holders()
    record.lines = {"node1": ["ctdb_etcd_lock: holding", line]}
    assert broken(record) == ["clean lines"]


def test_a_lock_that_nobody_holds_is_found():
    record = two_holders()
    record.quiets = [Quiet(1, 5, held=6), Quiet(10, 9.1, gave_up=19.2)]
    assert broken(record) == ["somebody holds"]


def test_key_left_behind_is_found():
    record = two_holders()
    record.left = ["key /_locks/_ctdb/X/7"]
    assert broken(record) == ["nothing is left"]


def test_record_is_saved_loaded_and_shown(tmp_path):
    record = two_holders(first_eof=12)
    record.faults = [Fault("partition", "node1 & <etcd>", 3, 4), Fault("helper killed", "node1", 5)]
    record.save(tmp_path / "record.json")
    again = Record.load(tmp_path / "record.json")
    assert again == record
    assert "no two hold" in text(again, check(again)) and "partition 1" in text(again, check(again))
    picture = svg(again, check(again))
    assert picture.startswith("<svg") and "node1 &amp; &lt;etcd&gt;" in picture and 'class="bad"' in picture
