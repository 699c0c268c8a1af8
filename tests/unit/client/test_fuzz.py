# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Fuzz tests of the client: any answer and any bytes on the wire give an object or a known error, in time."""

from __future__ import annotations

import json
import time

import pytest

from ctdb_etcd.config import parse as config
from ctdb_etcd.client.v3_answers import understand
from ctdb_etcd.errors import LockError
from ctdb_etcd.client.endpoints import Endpoints
from ctdb_etcd.client.v3 import Client
from ctdb_etcd.log import Log
from ctdb_etcd.waiting import Patient
from tests.support.babble import CHUNKS, Server
from tests.support.fuzz import JSON, examples, given, st


@examples(250)
@given(
    st.sampled_from([200, 200, 400, 401, 403, 404, 500, 503]),
    st.one_of(st.binary(max_size=60), JSON.map(json.dumps).map(str.encode), st.just(b"[" * 100000)),
)
def test_any_answer_gives_an_object_or_a_known_error(status, body):
    try:
        assert isinstance(understand(status, body), dict)
    except LockError:
        pass


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


class Punctual(Patient):
    """A Waiter that notes the waits that would go on after `latest`: however busy the machine is, there is none."""

    def __init__(self, latest):
        self.latest, self.too_late = latest, []

    def wait(self, events, deadline):
        if deadline > max(self.latest, time.monotonic()):
            self.too_late.append(deadline - self.latest)
        return super().wait(events, deadline)


@examples(60)
@given(CHUNKS, st.booleans())
def test_any_bytes_on_the_wire_end_by_the_deadline_in_a_known_way(server, chunks, rude):
    server.chunks, server.rude = chunks, rude
    settings = config.parse("the.conf", f"host = 127.0.0.1:{server.port}\n".encode())
    waiter = Punctual(time.monotonic() + 0.06)
    computed = time.thread_time()
    try:
        gateway = Client(Endpoints(settings, waiter, Log()))
        assert isinstance(gateway.call("kv/range", {}, waiter.latest), dict)
    except LockError:
        pass
    assert not waiter.too_late and time.thread_time() - computed < 2
