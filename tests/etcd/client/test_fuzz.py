# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Fuzz tests of the wire: whatever it carries, the program gives CTDB one status, in time, and no traceback."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from tests.support.babble import CHUNKS, Server
from tests.support.fuzz import examples, given, st
from tests.support.helper import Helper


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


@pytest.mark.slow
@pytest.mark.parametrize("api", ["3", "2", "auto"])
@examples(8)
@given(CHUNKS, st.booleans())
def test_any_bytes_on_the_wire_give_ctdb_a_status(server, tmp_path, api, chunks, rude):
    server.chunks, server.rude = chunks, rude
    conf = tmp_path / "fuzz.conf"
    host = f"host = 127.0.0.1:{server.port}\n"
    conf.write_text(f"{host}api = {api}\nnetbios_name = X\nacquire_timeout = 1\nread_timeout = 0.4\n")
    with Helper(conf) as helper:
        status = helper.status()
        helper.wait_exit()
        assert helper.stdout == status.encode() and status in "123", helper.describe()
        assert "Traceback" not in helper.stderr and "this is a bug" not in helper.stderr, helper.describe()


@pytest.fixture
def endless():
    """Return the port of a server whose answer never ends and comes as fast as it is read."""

    def answer(client):
        with client:
            try:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    client.sendall(b" " * (1 << 20))
            except OSError:
                pass

    def serve(listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("api", ["3", "2", "auto"])
def test_answer_without_an_end_does_not_fill_memory(helper_conf, endless, api):
    peak = 0
    with Helper(helper_conf(host=f"127.0.0.1:{endless}", api=api, acquire_timeout=3)) as helper:
        while helper.alive:
            lines = Path(f"/proc/{helper.pid}/status").read_text().splitlines()
            peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
        assert helper.status() == "2"
        assert helper.answered_after < 10
        assert "an answer of more than" in helper.stderr
    assert 0 < peak < 100_000  # KiB
