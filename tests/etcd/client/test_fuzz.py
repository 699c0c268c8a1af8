# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Whatever is on the wire: the program gives CTDB one status, in time, and no traceback."""

from __future__ import annotations

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
def test_any_bytes_on_the_wire_give_ctdb_its_status(server, tmp_path, api, chunks, rude):
    server.chunks, server.rude = chunks, rude
    conf = tmp_path / "fuzz.conf"
    host = f"host = 127.0.0.1:{server.port}\n"
    conf.write_text(f"{host}api = {api}\nnetbios_name = X\nacquire_timeout = 1\nread_timeout = 0.4\n")
    with Helper(conf) as helper:
        status = helper.status(8)
        helper.wait_exit(3)
        assert helper.stdout == status.encode() and status in "123", helper.describe()
        assert "Traceback" not in helper.stderr and "this is a bug" not in helper.stderr, helper.describe()
