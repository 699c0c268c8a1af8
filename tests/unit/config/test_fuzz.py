# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Fuzz tests of the configuration file: any contents give a configuration or lines that name the faults."""

from __future__ import annotations

import re

from ctdb_etcd.config import keys, parse as config
from ctdb_etcd.fence import margin
from ctdb_etcd.errors import Refused
from tests.support.conf import parse, refused
from tests.support.fuzz import assume, examples, given, st


KEYS = st.sampled_from([*keys.SPEC, "lock_refresh", "[section]", "#", ""])
VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["'", '"', "'''", '"""', "1,", ",", "[::1]:1", "nan", "inf", "-1", "1e9", "9" * 400, "%(x)s", "$x"]
    ),
)
LINES = st.lists(st.one_of(st.tuples(KEYS, VALUES).map(" = ".join), st.text(max_size=40)), max_size=8)


def is_refused_or_a_config(data):
    try:
        settings = config.parse("the.conf", data)
    except Refused as refusal:
        for line in str(refusal).splitlines():
            assert line.startswith("the.conf: ")
    else:
        assert settings.hosts and 3 <= settings.lock_ttl <= 3600


@examples(200)
@given(st.binary(max_size=200))
def test_file_of_any_bytes_is_accepted_or_refused(data):
    is_refused_or_a_config(data)


@examples(300)
@given(LINES)
def test_file_of_any_lines_is_accepted_or_refused(lines):
    is_refused_or_a_config("\n".join(lines).encode("utf-8", "surrogatepass"))


SECRET = "hunter2"
AROUND = st.lists(
    st.sampled_from([*" \t:=,'\"[]#%@\r\n\u2028", "x", "username", "host", "'''", "port", SECRET]), max_size=5
).map("".join)


@examples(500)
@given(AROUND, AROUND, AROUND)
def test_messages_never_show_the_value_on_a_password_line(before, between, after):
    line = f"{before}password{between}{SECRET}{after}"
    assume("password" in next(part for part in reversed(re.split("[\r\n]", line)) if SECRET in part))
    try:
        config.parse("the.conf", line.encode())
    except Refused as refusal:
        assert SECRET not in str(refusal)


def tenths(least, most):
    return st.integers(least, most).map(lambda tenth: tenth / 10)


@examples(100)
@given(st.integers(3, 30), tenths(2, 300), tenths(2, 50))
def test_times_leave_room_for_two_tries_or_are_refused_with_good_ones(
    ttl, refresh, read_timeout
):
    values = {"lock_ttl": ttl, "refresh": refresh, "read_timeout": read_timeout}
    spare = ttl - margin(ttl) - refresh - 2 * min(read_timeout, 1)
    # Exclude rounding errors at the limit.
    assume(abs(spare) > 1e-6)
    text = "\n".join(f"{key} = {value}" for key, value in values.items())
    if spare > 0:
        parse(text)
        return
    (line,) = refused(text)
    for way in line.rpartition(": set ")[2].split(" or "):
        key, _, value = way.partition(" = ")
        parse("\n".join(f"{name} = {value if name == key else old}" for name, old in values.items()))
