# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the fields of etcd's answers: a field is valid or the answer makes no sense. No other error is raised."""

from __future__ import annotations

import pytest

from ctdb_etcd.client import v3_answers
from ctdb_etcd.errors import Unavailable

NOT_NUMBERS = ["x", "1.5", None, [], {}, "9223372036854775808", float("inf"), float("nan"), "-9223372036854775809"]


@pytest.mark.parametrize("written, number", [("9223372036854775807", 2**63 - 1), ("-1", -1), (7, 7)])
def test_number_is_read_from_text_or_number(written, number):
    assert v3_answers.int64({"n": written}, "n") == number


@pytest.mark.parametrize("found", [-(2**63), 2**63 - 1, 0])
def test_signed_64_bit_number_is_an_int64(found):
    assert v3_answers.is_int64(found) is True


@pytest.mark.parametrize("found", [-(2**63) - 1, 2**63, True, 1.0, "1", None])
def test_integer_over_64_bits_or_value_of_another_type_is_no_int64(found):
    assert v3_answers.is_int64(found) is False


def test_missing_number_is_zero():
    assert v3_answers.int64({}, "n") == 0


@pytest.mark.parametrize("written", NOT_NUMBERS, ids=str)
def test_field_that_is_no_64_bit_number_makes_no_sense(written):
    with pytest.raises(Unavailable, match="makes no sense: n is no number"):
        v3_answers.int64({"n": written}, "n")


@pytest.mark.parametrize("part", [None, [], "x", 1], ids=str)
def test_value_that_is_no_object_makes_no_sense(part):
    for read in (v3_answers.mapping, v3_answers.raft_term, lambda part: v3_answers.int64(part, "n")):
        with pytest.raises(Unavailable, match="makes no sense: an object is missing"):
            read(part)


def test_list_and_object_are_returned_as_they_are():
    assert v3_answers.items([1]) == [1] and v3_answers.mapping({"a": 1}) == {"a": 1}


@pytest.mark.parametrize("part", [None, {}, "x", 1], ids=str)
def test_value_that_is_no_list_makes_no_sense(part):
    with pytest.raises(Unavailable, match="makes no sense: a list is missing"):
        v3_answers.items(part)


@pytest.mark.parametrize("text", ["/x/", "b\u00fccher", ""])
def test_text_survives_base64(text):
    assert v3_answers.text(v3_answers.base64(text)) == text


@pytest.mark.parametrize("data", ["a", [1], "\u00e9"], ids=str)
def test_text_that_is_not_base64_makes_no_sense(data):
    with pytest.raises(Unavailable, match="makes no sense: not base64"):
        v3_answers.text(data)


def test_bytes_that_are_not_utf_8_are_shown_escaped():
    assert v3_answers.text("/w==") == "\\xff"
