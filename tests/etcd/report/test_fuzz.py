# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Fuzz tests of the reports: whatever is on the wire, they end in time, with a verdict and without a traceback."""

from __future__ import annotations

import json

import pytest

from tests.support.babble import CHUNKS, Server
from tests.support.fuzz import JSON, NUMBERS, examples, given, st
from tests.support.view import View

FIELDS = "header cluster_id member_id leader version errors kvs key value lease create_revision TTL node nodes".split()
PART = st.recursive(
    st.one_of(JSON, NUMBERS, st.just(1e400), st.just("L2s=")),
    lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(st.sampled_from(FIELDS), part, max_size=6)),
    max_leaves=12,
)


def whole(part):
    body = json.dumps(part).encode()
    return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body]


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


@pytest.mark.slow
@pytest.mark.parametrize("api", ["3", "2", "auto"])
@pytest.mark.parametrize("command", ["--status", "--check"])
@examples(5)
@given(st.one_of(CHUNKS, PART.map(whole)), st.booleans())
def test_any_bytes_on_the_wire_give_a_verdict_in_time(server, tmp_path, command, api, chunks, rude):
    server.chunks, server.rude = chunks, rude
    conf = tmp_path / "fuzz.conf"
    conf.write_text(f"host = 127.0.0.1:{server.port}\napi = {api}\nnetbios_name = X\nread_timeout = 0.4\n")
    view = View(conf, command, "--json")
    assert view.errors == "" and view.code in ((1, 2, 3) if command == "--status" else (1,))
    assert view.json["exit"] == view.code and view.json["summary"]
    # 10 s on an idle machine.
    assert view.seconds < 25
