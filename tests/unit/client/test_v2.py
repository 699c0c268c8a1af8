# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Calls of the v2 API over a network that fails: who is asked and how long, what is repeated, what answers mean."""

from __future__ import annotations

import base64
import json

import pytest

etcd = pytest.importorskip("etcd", reason="python3-etcd is not installed")

from ctdb_etcd.client.endpoints import Endpoints  # noqa: E402
from ctdb_etcd.client.v2 import Client, Unanswered, client_keywords  # noqa: E402
from ctdb_etcd.client.v2_http import Http  # noqa: E402
from ctdb_etcd.errors import EndpointRefused, OtherCluster, Refused, Stopped, Unavailable  # noqa: E402
from tests.support.conf import parse  # noqa: E402
from tests.support.fake_network import A, B, C, Cluster, always, answer  # noqa: E402

FINE = answer(200, {"action": "get", "node": {"key": "/k", "value": "v"}})
CLOSED = ConnectionResetError(104, "Connection reset by peer")


def says(status, body, fields=""):
    return always((0.0, answer(status, body, fields)))


class Rig(Cluster):
    """The cluster with a v2 client."""

    def __init__(self, monkeypatch):
        super().__init__(monkeypatch)
        for server in self.servers:
            server.serve = always((0.0, FINE))
        self.v2()

    @property
    def servers(self):
        return self.a, self.b, self.c

    def v2(self, count=3, more=""):
        config = parse(f"host = {', '.join([A, B, C][:count])},\n{more}")
        self.client = Client(config, Endpoints(config, self.waiter, self.log), self.waiter, self.log)
        return self.client

    def call(self, seconds=8.0):
        return self.client.call("read", lambda client: client.read("/k").value, self.clock.now + seconds)

    def call_once(self, seconds=8.0):
        return self.client.call_once("append", write, self.clock.now + seconds)

    def asked(self):
        return [len(server.requests) for server in self.servers]


def write(client):
    return client.write("/d", "a value", append=True, ttl=9).value


@pytest.fixture
def rig(monkeypatch):
    return Rig(monkeypatch)


# Which endpoint, and how long


def test_the_first_endpoint_is_asked_over_one_connection(rig):
    for _ in range(3):
        assert rig.call() == "v"
    assert rig.asked() == [3, 0, 0] and len(rig.network.tried) == 1 and rig.client.endpoint == A
    assert rig.a.requests[0] == ("/v2/keys/k", {}) and rig.a.methods[0] == "GET"


def test_what_is_written_arrives_as_a_form(rig):
    operation = lambda client: client.write("/a{b", "\u20ac &=", ttl=9, append=True)  # noqa: E731
    rig.client.call_once("append", operation, rig.clock.now + 8)
    assert rig.a.requests == [("/v2/keys/a%7Bb", {"value": "\u20ac &=", "ttl": "9"})] and rig.a.methods == ["POST"]


@pytest.mark.parametrize(
    "serve",
    [
        says(200, b"{"),
        says(200, {}),
        says(200, []),
        says(200, {"node": {"key": 1}}, "X-Etcd-Index: x\r\n"),
        says(404, b"404 page not found"),
        says(502, b"<html>"),
        says(500, {"errorCode": 301, "message": "Leader election", "cause": "x", "index": 1}),
        says(500, ["x"]),
        says(500, {"errorCode": []}),
        says(303, b""),
        says(307, b""),
        always((0.0, b"SSH-2.0-x\r\n")),
        always((0.0, b"")),
        always((0.0, CLOSED)),
        always((0.0, b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n")),
        always((0.0, b"HTTP/1.1 200 OK\r\n\r\n"), *[(0.0, b"x" * 65536)] * 100),
    ],
)
def test_an_endpoint_that_fails_in_whatever_way_leaves_it_to_the_next_which_stays(rig, serve):
    rig.a.serve = serve
    for _ in range(2):
        assert rig.call() == "v"
    assert rig.asked() == [1, 2, 0] and rig.client.endpoint == B


def test_an_endpoint_that_cannot_be_connected_to_leaves_it_to_the_next(rig):
    rig.a.refuse()
    assert rig.call() == "v" and rig.asked() == [0, 1, 0]


@pytest.mark.parametrize("how", ["fall_silent", "never_connect"])
@pytest.mark.parametrize("seconds, waited", [(60, 3.0), (3, 1.0)])
def test_a_silent_endpoint_has_the_read_timeout_at_most_and_its_share(rig, how, seconds, waited):
    getattr(rig.a, how)()
    began = rig.clock.now
    assert rig.call(seconds) == "v" and rig.client.endpoint == B
    assert rig.clock.now == began + waited


def test_an_answer_without_an_end_ends_by_the_deadline_and_is_not_kept(rig):
    rig.v2(1)
    rig.a.serve = always((0.0, b"HTTP/1.1 200 OK\r\n\r\n"), *[(0.1 * n, b"x" * 9999) for n in range(999)])
    began = rig.clock.now
    with pytest.raises(Unavailable, match="no answer in"):
        rig.call(4)
    assert rig.clock.now <= began + 4 and not rig.network.open()


# What a kept connection means


def test_a_connection_that_ended_while_it_was_idle_is_made_again_without_a_word(rig):
    rig.call()
    rig.a.end_idle()
    assert rig.call() == "v" and rig.client.endpoint == A
    assert [name for name, _ in rig.network.tried] == [A, A] and rig.network.open() == [A]
    assert not [line for line in rig.log.lines if line.startswith("error")]


def test_an_endpoint_that_closes_every_connection_is_not_asked_for_ever(rig):
    rig.v2(1)
    rig.call()
    rig.a.serve = always((0.0, b""))
    with pytest.raises(Unavailable, match="perhaps it needs protocol = https"):
        rig.call(2)
    assert len(rig.a.requests) < 12


def test_a_late_answer_is_not_taken_for_that_to_the_next_request(rig):
    rig.v2(1, "read_timeout = 1")
    rig.a.serve = always((1.5, answer(200, {"node": {"key": "/k", "value": "stale"}})))
    rig.clock.at(rig.clock.now + 1.05, lambda: setattr(rig.a, "serve", always((0.0, FINE))))
    assert rig.call() == "v"


# What must not be repeated


def test_what_must_not_be_repeated_has_a_connection_of_its_own(rig):
    rig.call()
    rig.a.end_idle()
    assert rig.call_once() == "v"
    assert len(rig.network.tried) == 2 and rig.a.methods == ["GET", "POST"]


@pytest.mark.parametrize(
    "serve", [always((0.0, b"")), always((0.0, CLOSED)), says(500, b"x"), always((0.0, b"HTTP/"), (0.0, b""))]
)
def test_a_call_that_may_have_had_its_effect_is_not_repeated(rig, serve):
    rig.a.serve = serve
    with pytest.raises(Unanswered):
        rig.call_once()
    assert rig.asked() == [1, 0, 0]
    # The next one goes elsewhere.
    assert rig.call_once() == "v" and rig.asked() == [1, 1, 0]


def test_a_call_that_hangs_and_is_not_repeated_leaves_half_the_time(rig):
    rig.a.fall_silent()
    began = rig.clock.now
    with pytest.raises(Unanswered, match="no answer in 2.0 s"):
        rig.call_once(4)
    assert rig.clock.now == began + 2 and rig.asked() == [1, 0, 0]


@pytest.mark.parametrize("once", [True, False])
def test_a_stop_ends_a_call_that_hangs_and_its_connection(rig, once):
    rig.a.fall_silent()
    rig.waiter.stop_at(rig.clock.now + 0.5)
    with pytest.raises(Stopped):
        (rig.call_once if once else rig.call)()
    assert not rig.network.open()
    # What releases the lock then is not held up by it.
    rig.waiter.release()
    rig.a.serve = always((0.0, FINE))
    assert rig.call() == "v"


@pytest.mark.parametrize("once", [True, False])
def test_after_a_stop_nothing_is_begun(rig, once):
    rig.waiter.stop = "SIGTERM"
    with pytest.raises(Stopped):
        (rig.call_once if once else rig.call)()
    assert not rig.network.tried


# What an answer means


@pytest.mark.parametrize(
    "status, code, error", [(404, 100, etcd.EtcdKeyNotFound), (412, 101, etcd.EtcdCompareFailed)]
)
def test_what_etcd_says_of_a_key_is_raised_and_the_connection_kept(rig, status, code, error):
    rig.a.serve = says(status, {"errorCode": code, "message": "x", "cause": "/k", "index": 1})
    for call in rig.call_once, rig.call:
        with pytest.raises(error):
            call()
    assert rig.asked() == [2, 0, 0] and len(rig.network.tried) == 1


MEANING = [
    (says(401, {"errorCode": 110, "message": "x"}), Refused, r"--path '/_locks/_ctdb/NAME\*' --readwrite"),
    (says(404, b"404 page not found"), Refused, "the v2 API is not served"),
    (says(502, b"<html>"), Unavailable, "etcd says: Bad response : <html>"),
    (says(500, {"errorCode": 301, "message": "x"}), Unavailable, "etcd says: x"),
    (says(200, {"node": {}}, "X-Etcd-Cluster-Id: def\r\n"), OtherCluster, "abc to def. .*expected_cluster_id"),
    (says(200, b"nonsense"), Unavailable, "etcd says: Server response was not valid JSON"),
    (always((0.0, b"")), Unavailable, "perhaps it needs protocol = https"),
    (always((0.0, CLOSED)), Unavailable, "Connection reset by peer"),
    (always((0.0, b"SSH-2.0-x\r\n")), Unavailable, "does not speak HTTP"),
]


@pytest.mark.parametrize("serve, kind, words", MEANING)
def test_what_each_answer_means(rig, serve, kind, words):
    rig.v2(1, "expected_cluster_id = abc")
    rig.a.serve = serve
    with pytest.raises(kind, match=words) as failure:
        rig.call(1)
    assert failure.type is kind


def test_garbage_that_python_etcd_stumbles_over_makes_no_sense(rig):
    rig.v2(1)
    rig.a.serve = says(200, {"node": {"key": "/d", "dir": True, "nodes": [5]}})
    with pytest.raises(Unavailable, match="makes no sense: TypeError"):
        rig.client.call("read", lambda client: list(client.read("/d").leaves), rig.clock.now + 1)


def test_what_no_endpoint_will_do_is_refused_and_what_one_may_is_not(rig):
    for server in rig.servers:
        server.serve = says(404, b"404 page not found")
    with pytest.raises(Refused):
        rig.call()
    assert rig.asked() == [1, 1, 1]
    rig.b.serve = always((0.0, FINE))
    assert rig.call() == "v"


# Redirects


def to(place, status=307):
    return says(status, b"", f"Location: {place}\r\n")


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_repeats_the_request_elsewhere_without_the_login(rig, status):
    rig.v2(1, "username = u\npassword = p")
    rig.a.serve = to(f"http://{B}/v2/other?a=b%20c", status)
    assert rig.call_once() == "v"
    assert rig.b.requests == [("/v2/other?a=b%20c", {"value": "a value", "ttl": "9"})] and rig.b.methods == ["POST"]
    assert "authorization" in rig.a.fields[0] and "authorization" not in rig.b.fields[0]
    assert rig.network.open() == [A] and rig.client.endpoint == A


def test_a_redirect_to_a_path_stays_at_the_endpoint_with_the_login(rig):
    rig.v2(1, "username = u\npassword = p")
    rig.a.serve = lambda path, body: (to("/other") if path != "/other" else always((0.0, FINE)))(path, body)
    assert rig.call() == "v"
    assert [("authorization" in fields) for fields in rig.a.fields] == [True, True]


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_could_make_a_read_of_a_write_is_not_followed(rig, status):
    rig.a.serve = to(f"http://{B}/v2/keys/d", status)
    with pytest.raises(Unanswered):
        rig.call_once()
    assert rig.asked() == [1, 0, 0]


def test_no_redirect_is_followed_where_the_file_forbids_it(rig):
    rig.v2(1, "allow_redirect = no")
    rig.a.serve = to(f"http://{B}/v2/keys/d")
    with pytest.raises(Unavailable):
        rig.call(1)
    assert rig.asked()[1] == 0


def test_redirects_in_a_circle_end(rig):
    rig.v2(1)
    rig.a.serve, rig.b.serve = to(f"http://{B}/"), to(f"http://{A}/")
    with pytest.raises(Unanswered):
        rig.call_once(4)
    assert rig.asked() == [2, 2, 0]


@pytest.mark.parametrize("scheme", ["https", "ftp"])
def test_a_redirect_to_another_protocol_is_refused(rig, scheme):
    rig.v2(1)
    rig.a.serve = to(f"{scheme}://{B}/")
    with pytest.raises(Refused, match=f"it redirects from http to {scheme}, which is not followed"):
        rig.call()
    assert rig.asked() == [1, 0, 0]


def test_no_redirect_leads_from_https_to_http(rig):
    with pytest.raises(EndpointRefused, match="it redirects from https to http, which is not followed"):
        Http(rig.client._endpoints, A, "https", rig.log)._elsewhere(f"http://{B}/")


@pytest.mark.parametrize(
    "place", ["http://", "http://a b/", "http://[::1/", "http://u@127.0.0.2:2/", "http://a:0/", "http://a..b/"]
)
def test_a_redirect_to_nowhere_is_a_failure_of_the_endpoint(rig, place):
    rig.a.serve = to(place)
    assert rig.call() == "v" and rig.client.endpoint == B


# The login, and the log


@pytest.mark.parametrize("password", ["p", "p\u00e4", "p\u20ac", "\U0001f511"])
def test_the_login_is_sent_in_utf_8_as_etcd_wants_it(rig, password):
    rig.v2(1, f"username = \u00fc\npassword = {password}")
    rig.call()
    sent = base64.b64decode(rig.a.fields[0]["authorization"].partition(" ")[2]).decode()
    assert sent == f"\u00fc:{password}"


def test_the_log_names_each_operation_with_endpoint_and_time(rig):
    rig.a.serve = always((0.25, FINE))
    rig.call()
    rig.call_once()
    rig.a.fall_silent()
    rig.call()
    debug = [line for line in rig.log.lines if line.startswith("debug")]
    assert debug[:3] == [
        f"debug: v2 read: 200 from {A} in 0.2500 s",
        f"debug: v2 append: 200 from {A} in 0.2500 s",
        f"debug: v2 read: no answer from {A} in 2.6667 s: no answer in time",
    ]


def test_the_wire_is_shown_without_the_login(rig):
    rig.v2(1, "username = u\npassword = hunter2")
    rig.call_once()
    wire = [line for line in rig.log.lines if line.startswith("wire")]
    assert "> POST /v2/keys/d {'authorization': '***'" in wire[0] and "value=a+value" in wire[0]
    assert wire[1] == f"wire: < 200 {FINE.partition(bytes([13, 10, 13, 10]))[2].decode()}"
    secret = base64.b64encode(b"u:hunter2").decode()
    assert not [line for line in rig.log.lines if "hunter2" in line or secret in line]


# How python-etcd is set up


def test_python_etcd_goes_to_one_address_and_never_elsewhere_by_itself():
    keywords = client_keywords(parse("host = a, b"), ("::1", 7))
    assert (keywords["host"], keywords["port"], keywords["srv_domain"]) == ("[::1]", 7, None)
    assert keywords["allow_reconnect"] is False and keywords["use_proxies"] is True


def test_nothing_is_sent_over_sockets_of_urllib3(rig, monkeypatch):
    import urllib3

    monkeypatch.setattr(urllib3.PoolManager, "urlopen", None)
    assert rig.call() == rig.call_once() == "v"
    assert json.loads(FINE.partition(b"\r\n\r\n")[2])["node"]["value"] == "v"
