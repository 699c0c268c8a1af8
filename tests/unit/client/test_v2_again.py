# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the v2 client where DNS names the endpoints, and where its file has changed."""

from __future__ import annotations

import base64
import os
import socket
from types import SimpleNamespace

import pytest

pytest.importorskip("etcd", reason="python3-etcd is not installed")

from ctdb_etcd.client import endpoints, srv  # noqa: E402
from ctdb_etcd.client.endpoints import Endpoints  # noqa: E402
from ctdb_etcd.client.v2 import Client, Unanswered  # noqa: E402
from ctdb_etcd.errors import Unavailable  # noqa: E402
from tests.support.conf import parse  # noqa: E402
from tests.support.fake_network import A, B, always  # noqa: E402
from tests.support.rig_v2 import FINE, says  # noqa: E402
from tests.support.rig_v2 import rig as rig_fixture  # noqa: E402

rig = rig_fixture


# Endpoints from DNS


def test_name_of_an_endpoint_that_fails_is_looked_up_again(rig, monkeypatch):
    look_up, asked = socket.getaddrinfo, []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *host, **more: asked.append(host) or look_up(*host, **more))
    rig.v2(1)
    assert rig.read() == rig.read() == "v" and len(asked) == 1
    rig.a.serve = says(502, b"<html>")
    with pytest.raises(Unavailable):
        rig.read(1)
    assert len(asked) > 1


@pytest.fixture
def dns(rig, monkeypatch):
    """Return a fake DNS for the rig's client: its answers come at once and without a thread, or never (`hangs`)."""
    dns = SimpleNamespace(members=[("127.0.0.1", 1)], hangs=False, asked=0)
    pipes = []

    class Lookup:
        """A double of waiting.Task."""

        def __init__(self, function):
            self._function = function
            self.done, end = os.pipe()
            pipes.append(self.done)
            if dns.hangs:
                pipes.append(end)
                rig.waiter.hangs = True
            else:
                os.close(end)

        def result(self):
            return self._function()

    def look_up(domain, protocol):
        dns.asked += 1
        if isinstance(dns.members, OSError):
            raise dns.members
        return dns.members

    monkeypatch.setattr(endpoints, "Task", Lookup)
    monkeypatch.setattr(srv, "look_up", look_up)
    config = parse("srv_domain = d")
    rig.client = Client(Endpoints(config, rig.waiter, rig.log))
    yield dns
    for pipe in pipes:
        os.close(pipe)


@pytest.mark.parametrize("once", [True, False])
def test_endpoints_are_those_that_dns_names(rig, dns, once):
    dns.members = [("127.0.0.2", 2), ("127.0.0.1", 1)]
    for _ in range(2):
        assert (rig.append if once else rig.read)() == "v"
    assert rig.asked() == [0, 2, 0] and dns.asked == 1


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("seconds, waited", [(8, 3.0), (3, 1.5)])
def test_name_servers_are_waited_for_their_share_up_to_read_timeout(rig, dns, seconds, waited, once):
    dns.hangs = True
    began = rig.clock.now
    with pytest.raises((Unanswered, Unavailable), match="srv_domain d: the name servers give no answer"):
        (rig.append if once else rig.read)(seconds)
    assert rig.waiter.waits[0] == began + waited
    assert rig.clock.now == began + waited if once else began + waited < rig.clock.now <= began + seconds


def test_call_goes_on_when_dns_names_the_endpoints_later(rig, dns):
    found, dns.members = dns.members, OSError("there are no SRV records")
    rig.clock.at(rig.clock.now + 1, lambda: setattr(dns, "members", found))
    assert rig.read() == "v" and rig.log.lines[0].endswith("srv_domain d: there are no SRV records")


def test_dns_is_asked_again_once_no_endpoint_answers(rig, dns):
    rig.read()
    rig.a.serve = says(503, b"")
    dns.members = [("127.0.0.2", 2)]
    assert rig.read() == "v"
    assert rig.asked() == [2, 1, 0] and dns.asked == 2


# A file that has changed


def accepts(server, password):
    """Return the function of a server that accepts requests with this password only."""
    login = f"Basic {base64.b64encode(f'u:{password}'.encode()).decode()}"

    def serve(path, body):
        known = server.fields[-1].get("authorization") == login
        return (always((0.0, FINE)) if known else says(401, {"errorCode": 110, "message": "x"}))(path, body)

    return serve


def write(rig, path, text):
    """Write a file that differs from the one that the helper read when it started."""
    path.write_text(text)
    rig.client._config.follow(str(path), b"something else", rig.log)


def test_login_of_the_file_read_again_is_used_over_one_new_connection(rig, tmp_path):
    rig.v2(1, "username = u\npassword = old")
    rig.a.serve = accepts(rig.a, "new")
    write(rig, tmp_path / "x.conf", f"host = {A}\nusername = u\npassword = new\n")
    for _ in range(2):
        assert rig.read() == "v"
    assert len(rig.a.requests) == 3 and len(rig.network.tried) == 2 and rig.network.open() == [A]


def test_endpoints_of_the_file_read_again_end_the_old_connection(rig, tmp_path):
    rig.v2(1)
    rig.a.serve = says(503, b"")
    write(rig, tmp_path / "x.conf", f"host = {B}\n")
    assert rig.read() == "v" and rig.client.endpoint == B and rig.network.open() == [B]


def test_file_that_another_client_has_read_again_ends_the_old_connection(rig, tmp_path):
    rig.v2(1)
    rig.read()
    write(rig, tmp_path / "x.conf", f"host = {A}, {B}\n")
    assert rig.client._config.again()
    assert rig.read() == "v" and len(rig.network.tried) == 2 and rig.network.open() == [A]
