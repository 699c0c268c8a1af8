# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of each key's limits from both sides, and of the types of the values."""

from __future__ import annotations

import pytest

from ctdb_etcd.config import keys
from tests.support.conf import parse, refused


def check(key, value):
    return keys.SPEC[key][0](value)


# For each key: a value just too small, the smallest, the largest, and one just too large.
NUMBERS = [
    ("port", "0", "1", "65535", "65536"),
    ("lock_ttl", "2", "3", "3600", "3601"),
    ("refresh", "0.199", "0.2", "1800", "1800.5"),
    ("acquire_timeout", "0.99", "1", "110", "110.5"),
    ("read_timeout", "0.199", "0.2", "3600", "3600.5"),
    ("per_host_pool_size", "0", "1", "1000", "1001"),
]


@pytest.mark.parametrize("key, below, least, most, above", NUMBERS)
def test_number_is_taken_up_to_both_edges(key, below, least, most, above):
    kind = type(keys.SPEC[key][1])
    for text in least, most:
        assert check(key, text) == float(text) and type(check(key, text)) is kind
    for text in below, above:
        with pytest.raises(ValueError):
            check(key, text)
    assert keys.SPEC[key][2].endswith(f" from {least} to {most}")


@pytest.mark.parametrize("key", ["allow_redirect", "allow_reconnect", "use_proxies"])
def test_each_word_for_yes_and_no_is_understood_in_any_case(key):
    for words, meaning in ("true yes on 1 True YES On", True), ("false no off 0 False NO Off", False):
        assert [check(key, word) for word in words.split()] == [meaning] * 7


@pytest.mark.parametrize("key, words", [("api", "auto 3 2"), ("protocol", "http https")])
def test_each_choice_is_taken_as_it_is(key, words):
    assert [check(key, word) for word in words.split()] == words.split()


@pytest.mark.parametrize("key", sorted(keys.SPEC.keys() - {"host", "cert"}))
def test_list_is_refused_where_one_value_is_taken(key):
    with pytest.raises(ValueError):
        check(key, ["1", "2"])


LABEL = "x" * 63
LONGEST = f"{LABEL}.{LABEL}.{LABEL}.{'x' * 61}"


@pytest.mark.parametrize("key", ["host", "srv_domain"])
def test_dns_name_has_at_most_253_characters(key):
    assert len(LONGEST) == 253 and LONGEST in str(check(key, LONGEST))
    for name in LONGEST + "x", LABEL + "x":
        with pytest.raises(ValueError):
            check(key, name)


def test_dot_at_the_end_of_a_domain_is_left_out():
    assert check("srv_domain", "a.test.") == "a.test"


@pytest.mark.parametrize(
    "text, found",
    [
        ("a:1", ("a", 1)),
        ("a:65535", ("a", 65535)),
        ("a", ("a", None)),
        ("[::1]", ("::1", None)),
        ("[::1]:7", ("::1", 7)),
        ("::1", ("::1", None)),
        ("1::", ("1::", None)),
        ("::ffff:10.0.0.1", ("::ffff:10.0.0.1", None)),
    ],
)
def test_host_may_have_a_port(text, found):
    assert check("host", text) == check("host", [text]) == [found]


BAD_HOSTS = ["a:0", "a:65536", "g:h:i", "1:2:3", "[1:2]:3", "::1:23790", "1:2:3%eth0", "a:", ":1", "[::1", "[g]", "::g"]


@pytest.mark.parametrize("text", [*BAD_HOSTS, "a:\u0661", ""])
def test_what_is_no_host_is_refused(text):
    with pytest.raises(ValueError):
        check("host", text)


@pytest.mark.parametrize(
    "value, files", [("/a", ("/a",)), (["/a"], ("/a",)), (["/a", "/b"], ("/a", "/b")), ([], None), (["/a"] * 3, None)]
)
def test_cert_is_one_file_or_two(value, files):
    if files:
        assert check("cert", value) == files
    else:
        with pytest.raises(ValueError):
            check("cert", value)


def test_other_values_are_taken_as_they_are():
    for key, text in ("ca_cert", "/a b"), ("username", " u"), ("lock_prefix", "/a/b"), ("locks_dir", "a/b"):
        assert check(key, text) == text
    assert check("netbios_name", "fs-1") == "FS-1"
    assert [check("expected_cluster_id", text) for text in ("0X4D", "00ff")] == [0x4D, 0xFF]


@pytest.mark.parametrize(
    "text, ways",
    [
        (
            "lock_ttl = 1802\nrefresh = 1800\nread_timeout = 0.53",
            "lock_ttl = 1803 or refresh = 1799.9 or read_timeout = 0.5",
        ),
        ("lock_ttl = 3\nrefresh = 1.9\nread_timeout = 0.3", "lock_ttl = 4 or refresh = 1.6"),
        ("lock_ttl = 3600\nrefresh = 1800", ""),
        ("lock_ttl = 1803\nrefresh = 1800", ""),
    ],
)
def test_each_way_out_is_the_nearest_good_value(text, ways):
    if ways:
        (fault,) = refused(text)
        assert fault.partition(": set ")[2] == ways
    else:
        assert parse(text).refresh == 1800


@pytest.mark.parametrize(
    "text",
    [
        "api = 3\nversion_prefix = /v2\nper_host_pool_size = 10",
        "cert = /a\nca_cert = /a\nprotocol = https",
        "srv_domain = x\nallow_reconnect = true\nuse_proxies = true",
        "use_proxies = false",
        "allow_reconnect = false",
        "allow_reconnect = false\nuse_proxies = false",
        "host = a\nport = 1",
    ],
)
def test_value_with_an_effect_causes_no_warning(text):
    assert parse(text).warnings == []


def test_allow_reconnect_of_a_domain_has_no_effect_if_false():
    (warning,) = parse("srv_domain = x\nallow_reconnect = false").warnings
    assert "allow_reconnect: false has no effect" in warning
