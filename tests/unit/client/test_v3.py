# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of v3 calls that get no connection: pauses between rounds, a stop, and the reason for each endpoint."""

from __future__ import annotations

import errno
import os
import socket
import time

import pytest

from ctdb_etcd.client.endpoints import Endpoints
from ctdb_etcd.client.v3 import Client
from ctdb_etcd.errors import Stopped, Unavailable
from ctdb_etcd.waiting import Patient
from tests.support.conf import parse
from tests.support.fakes import Clock, Log, Waiter


class Sockets:
    """A fake socket.socket that always fails. A test that calls it over 1000 times loops without a wait, and fails."""

    def __init__(self, monkeypatch, code):
        self.asked = 0
        self._code = code
        monkeypatch.setattr(socket, "socket", self)

    def __call__(self, *_):
        self.asked += 1
        if self.asked > 1000:
            pytest.fail("a loop without a wait")
        raise OSError(self._code, os.strerror(self._code))


def client(waiter, log, **keys):
    text = "\n".join(f"{key} = {value}" for key, value in keys.items())
    settings = parse(text)
    return Client(Endpoints(settings, waiter, log))


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EAFNOSUPPORT, errno.ENOBUFS])
def test_call_without_any_socket_pauses_between_rounds(monkeypatch, code):
    sockets = Sockets(monkeypatch, code)
    clock, log = Clock(monkeypatch), Log()
    waiter = Waiter(clock)
    began = clock.now
    with pytest.raises(Unavailable) as failure:
        client(waiter, log, host="::1, 127.0.0.1").call("kv/range", {}, began + 4)
    assert 3 <= clock.now - began <= 4 and sockets.asked == 2 * (len(waiter.waits) + 1)
    why = os.strerror(code)
    assert str(failure.value) == f"etcd gave no answer in time: [::1]:2379: {why}; 127.0.0.1:2379: {why}"


def test_call_without_any_socket_ends_on_a_stop(monkeypatch):
    Sockets(monkeypatch, errno.EMFILE)
    clock = Clock(monkeypatch)
    waiter = Waiter(clock)
    waiter.stop_at(clock.now + 1)
    with pytest.raises(Stopped):
        client(waiter, Log(), host="::1, 127.0.0.1").call("kv/range", {}, clock.now + 4)


def test_server_that_never_ends_the_tls_handshake_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        calls = client(Patient(), Log(), host=host, protocol="https", read_timeout=0.2)
        with pytest.raises(Unavailable, match=rf"{host}: no end of the TLS handshake in \d\.\d s"):
            calls.call("kv/range", {}, time.monotonic() + 0.5)
