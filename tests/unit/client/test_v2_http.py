# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the v2 client's HTTP: redirects, the login, the log, and how python-etcd is set up."""

from __future__ import annotations

import base64
import json
import logging

import pytest

etcd = pytest.importorskip("etcd", reason="python3-etcd is not installed")

from ctdb_etcd.client.v2 import Unanswered  # noqa: E402
from ctdb_etcd.client.v2_http import Answer, Http  # noqa: E402
from ctdb_etcd.errors import EndpointRefused, Refused, Unavailable  # noqa: E402
from tests.support.fake_network import A, B, always  # noqa: E402
from tests.support.rig_v2 import FINE, says  # noqa: E402
from tests.support.rig_v2 import rig as rig_fixture  # noqa: E402

rig = rig_fixture


# Redirects


def to(place, status=307):
    return says(status, b"", f"Location: {place}\r\n")


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_repeats_the_request_elsewhere_without_the_login(rig, status):
    rig.v2(1, "username = u\npassword = p")
    rig.a.serve = to(f"http://{B}/v2/other?a=b%20c", status)
    assert rig.append() == "v"
    assert rig.b.requests == [("/v2/other?a=b%20c", {"value": "a value", "ttl": "9"})] and rig.b.methods == ["POST"]
    assert "authorization" in rig.a.fields[0] and "authorization" not in rig.b.fields[0]
    assert rig.network.open() == [A] and rig.client.endpoint == A


def test_a_redirect_to_a_path_stays_at_the_endpoint_with_the_login(rig):
    rig.v2(1, "username = u\npassword = p")
    rig.a.serve = lambda path, body: (to("/other") if path != "/other" else always((0.0, FINE)))(path, body)
    assert rig.read() == "v"
    assert [("authorization" in fields) for fields in rig.a.fields] == [True, True]


@pytest.mark.parametrize("status", [301, 302, 303])
def test_redirect_that_could_turn_a_write_into_a_read_is_not_followed(rig, status):
    rig.a.serve = to(f"http://{B}/v2/keys/d", status)
    with pytest.raises(Unanswered):
        rig.append()
    assert rig.asked() == [1, 0, 0]


def test_redirect_is_not_followed_if_the_file_forbids_it(rig):
    rig.v2(1, "allow_redirect = no")
    rig.a.serve = to(f"http://{B}/v2/keys/d")
    with pytest.raises(Unavailable):
        rig.read(1)
    assert rig.asked()[1] == 0


def test_circular_redirects_end(rig):
    rig.v2(1)
    rig.a.serve, rig.b.serve = to(f"http://{B}/"), to(f"http://{A}/")
    with pytest.raises(Unanswered):
        rig.append(4)
    assert rig.asked() == [2, 2, 0]


@pytest.mark.parametrize("scheme", ["https", "ftp"])
def test_a_redirect_to_another_protocol_is_refused(rig, scheme):
    rig.v2(1)
    rig.a.serve = to(f"{scheme}://{B}/")
    with pytest.raises(Refused, match=f"it redirects from http to {scheme}, which is not followed"):
        rig.read()
    assert rig.asked() == [1, 0, 0]


def https(rig):
    rig.client._endpoints.config.protocol = "https"
    return Http(rig.client._endpoints, A)


def test_redirect_from_https_to_http_is_not_followed(rig):
    with pytest.raises(EndpointRefused, match="it redirects from https to http, which is not followed"):
        https(rig)._elsewhere(f"http://{B}/")


@pytest.mark.parametrize(
    "place", ["http://a b/", "http://[::1/", "http://u@127.0.0.2:2/", "http://a:0/", "http://a..b/"]
)
def test_a_redirect_to_nowhere_is_a_failure_of_the_endpoint(rig, place):
    rig.v2(1)
    rig.a.serve = to(place)
    with pytest.raises(Unavailable, match=f"{A}: a redirect to nowhere$"):
        rig.read(0.2)


def test_redirect_without_a_port_goes_to_the_port_of_its_protocol(rig):
    default = rig.network.server("127.0.0.4:80", always((0.0, FINE)))
    rig.a.serve = to("http://127.0.0.4/v2")
    assert rig.read() == "v" and default.paths == ["/v2"]
    assert https(rig)._elsewhere("https://127.0.0.4/v2") == ("127.0.0.4:443", "/v2")


def test_login_in_any_case_is_not_sent_elsewhere(rig):
    rig.a.serve = to(f"http://{B}/")
    http = Http(rig.client._endpoints, A)
    http.begin("read", rig.clock.now + 8, True)
    http.request("GET", f"http://{A}/", None, True, {"Authorization": "Basic x", "X": "y"})
    assert rig.a.fields[0]["Authorization"] == "Basic x"
    assert "Authorization" not in rig.b.fields[0] and rig.b.fields[0]["X"] == "y"


# Login and log


@pytest.mark.parametrize("password", ["p", "p\u00e4", "p\u20ac", "\U0001f511"])
def test_login_is_sent_in_utf_8(rig, password):
    rig.v2(1, f"username = \u00fc\npassword = {password}")
    rig.read()
    sent = base64.b64decode(rig.a.fields[0]["authorization"].partition(" ")[2]).decode()
    assert sent == f"\u00fc:{password}"


def test_the_log_names_each_operation_with_endpoint_and_time(rig):
    rig.a.serve = always((0.25, FINE))
    rig.read()
    rig.append()
    rig.a.fall_silent()
    rig.read()
    debug = [line for line in rig.log.lines if line.startswith("debug")]
    assert debug[:3] == [
        f"debug: v2 read: 200 from {A} in 0.2500 s",
        f"debug: v2 append: 200 from {A} in 0.2500 s",
        f"debug: v2 read: no answer from {A} in 2.6667 s: no answer in time",
    ]


def test_log_says_why_an_answer_is_of_no_use(rig):
    rig.a.serve = always((0.25, b"SSH-2.0-x\r\n"))
    rig.read()
    assert f"debug: v2 read: no answer from {A} in 0.2500 s: what answers does not speak HTTP" in rig.log.lines


def test_wire_log_hides_the_login(rig):
    rig.v2(1, "username = u\npassword = hunter2")
    rig.append()
    wire = [line for line in rig.log.lines if line.startswith("wire")]
    assert "> POST /v2/keys/d {'authorization': '***'" in wire[0] and "value=a+value" in wire[0]
    assert wire[1] == f"wire: < 200 {FINE.partition(bytes([13, 10, 13, 10]))[2].decode()}"
    secret = base64.b64encode(b"u:hunter2").decode()
    assert not [line for line in rig.log.lines if "hunter2" in line or secret in line]


# Setup of python-etcd


def test_python_etcd_has_the_version_prefix_and_never_reconnects(rig):
    rig.v2(1, "version_prefix = /x/v2\nallow_reconnect = yes")
    rig.a.serve = always((0.0, b""))
    with pytest.raises(Unanswered):
        rig.append()
    assert [path for path, _ in rig.a.requests] == ["/x/v2/keys/d"]


def test_python_etcd_prints_no_warnings_of_its_own(rig, monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    rig.v2(1)
    rig.read()
    assert capsys.readouterr().err == ""


def test_header_field_of_an_answer_is_found_in_any_case():
    answer = Answer(200, b"", {"x-etcd-index": "7"})
    assert answer.getheader("X-Etcd-Index") == answer.getheader("x-etcd-index") == "7"
    assert answer.getheader("X-Raft-Index") is None


def test_requests_do_not_use_sockets_of_urllib3(rig, monkeypatch):
    import urllib3

    monkeypatch.setattr(urllib3.PoolManager, "urlopen", None)
    assert rig.read() == rig.append() == "v"
    assert json.loads(FINE.partition(b"\r\n\r\n")[2])["node"]["value"] == "v"
