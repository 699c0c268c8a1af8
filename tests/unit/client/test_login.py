# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the login: it happens once, and again for an invalid token, but not forever; and what the log shows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ctdb_etcd.client.login import Login
from ctdb_etcd.errors import AuthDisabled, LockError, Refused, Unavailable
from tests.support.fake_network import FINE, Cluster, always, answer, fine, says
from tests.support.fakes import Log


@pytest.fixture
def cluster(monkeypatch):
    return Cluster(monkeypatch)


class Guarded:
    """A fake server that requires a login. Its tokens are numbered, and only the newest one is valid."""

    def __init__(self, password="p"):
        self.password, self.tokens, self.fault = password, 0, ""
        self.server = None

    def __call__(self, path, body):
        if path.endswith("authenticate"):
            if body != {"name": "u", "password": self.password}:
                return says("etcdserver: authentication failed, invalid user ID or password")(path, body)
            self.tokens += 1
            return [(0.0, answer(200, {**FINE, "token": f"t{self.tokens}"}))]
        if self.server.fields[-1].get("Authorization") != f"t{self.tokens}":
            return says("etcdserver: invalid auth token")(path, body)
        return fine(path, body)


@pytest.fixture
def guarded(cluster):
    cluster.configured(1, "username = u\npassword = p\n")
    guard = Guarded()
    guard.server = cluster.a
    cluster.a.serve = guard
    cluster.guard = guard
    return cluster


def test_client_logs_in_once_and_sends_its_token_with_each_request(guarded):
    for _ in range(2):
        assert guarded.call() == FINE
    assert guarded.a.paths == ["/v3/auth/authenticate", "/v3/kv/range", "/v3/kv/range"]
    assert "Authorization" not in guarded.a.fields[0] and guarded.client.logged_in


def test_dead_token_is_replaced_once_and_the_request_repeated(guarded):
    guarded.call()
    guarded.guard.tokens += 1
    assert guarded.call() == FINE
    assert guarded.a.paths[2:] == ["/v3/kv/range", "/v3/auth/authenticate", "/v3/kv/range"]


def test_request_is_repeated_with_a_new_token_on_a_closed_connection(guarded):
    guarded.call()
    guarded.a.end_idle()
    guarded.guard.tokens += 1
    assert guarded.call() == FINE
    assert guarded.a.paths[2:] == ["/v3/auth/authenticate", "/v3/kv/range"]


def test_login_is_not_repeated_forever_if_no_token_is_accepted(guarded):
    guarded.a.serve = lambda path, body: (
        [(0.0, answer(200, {**FINE, "token": "t"}))]
        if path.endswith("authenticate")
        else says("etcdserver: invalid auth token")(path, body)
    )
    with pytest.raises(Unavailable):
        guarded.call(4)
    assert guarded.a.paths.count("/v3/auth/authenticate") < 20


def test_wrong_password_is_refused_with_only_the_user_named(guarded):
    guarded.guard.password = "other"
    with pytest.raises(Refused, match=r"check username \(u\) and password") as failure:
        guarded.call()
    assert failure.type is Refused and "'p'" not in str(failure.value)


def test_login_that_etcd_requires_is_refused_without_a_user(cluster):
    cluster.configured(1)
    cluster.a.serve = says("etcdserver: user name is empty")
    with pytest.raises(Refused, match="set username and password"):
        cluster.call()


def test_login_is_not_repeated_while_auth_is_disabled(guarded):
    disabled = says("etcdserver: authentication is not enabled")
    guarded.a.serve = lambda path, body: (disabled if path.endswith("authenticate") else fine)(path, body)
    for _ in range(2):
        assert guarded.call() == FINE
    assert guarded.a.paths.count("/v3/auth/authenticate") == 1 and not guarded.client.logged_in
    # The client logs in again once etcd requires it.
    guarded.a.serve = guarded.guard
    assert guarded.call() == FINE and guarded.client.logged_in


@pytest.mark.parametrize("token", [None, "", 7, "a\r\nb"])
def test_login_answer_without_a_token_is_refused(guarded, token):
    guarded.a.serve = always((0.0, answer(200, {**FINE, "token": token})))
    with pytest.raises(Unavailable, match="a login without a token"):
        guarded.call(2)


# The log


SECRET = "hunter2"
REPEATED = [
    answer(500, {"message": f"cannot use {SECRET}"}),
    answer(200, {"error": {"message": f"cannot use {SECRET}"}}),
    answer(200, {"tokens": SECRET}),
    answer(400, f"bad request: {SECRET}".encode()),
    answer(400, f"CommonName of client {SECRET}".encode()),
    answer(400, {"message": f"authentication failed for {SECRET}"}),
    answer(403, {"message": f"permission denied for {SECRET}"}),
    answer(200, SECRET.encode()),
]


def shown(cluster, error):
    return "\n".join([*cluster.log.lines, str(error)])


@pytest.mark.parametrize("repeated", REPEATED)
def test_answer_to_the_login_is_not_shown(cluster, repeated):
    cluster.configured(1, f"username = u\npassword = {SECRET}\n")
    cluster.a.serve = always((0.0, repeated))
    with pytest.raises(LockError) as failure:
        cluster.call(2)
    assert cluster.a.requests[0][1]["password"] == SECRET
    assert SECRET not in shown(cluster, failure.value)
    assert "wire: > POST /v3/auth/authenticate {'Content-Type': 'application/json'} ***" in cluster.log.lines


@pytest.mark.parametrize("message", ["etcdserver: no leader", "etcdserver: request timed out, possibly due to x"])
def test_known_error_of_etcd_at_login_is_shown(cluster, message):
    cluster.configured(1, "username = u\npassword = p\n")
    cluster.a.serve = says(message)
    with pytest.raises(Unavailable, match=f"etcd reports: {message[12:29].rstrip(',')} .HTTP status 503"):
        cluster.call(2)


def test_token_is_not_shown_in_the_login_answer_or_in_requests(guarded):
    guarded.guard.tokens = 12344
    guarded.call()
    assert guarded.a.fields[-1]["Authorization"] == "t12345"
    lines = "\n".join(guarded.log.lines)
    assert "t12345" not in lines and "'Authorization': '***'" in lines


def test_password_equal_to_a_word_of_the_log_is_not_revealed(cluster):
    cluster.configured(1, "username = u\npassword = range\n")
    guard = Guarded("range")
    guard.server = cluster.a
    cluster.a.serve = guard
    cluster.call()
    assert [line for line in cluster.log.lines if line.startswith("debug: kv/range: 200")]


# The Login class alone


def login_of(user="u", log=None):
    return Login(SimpleNamespace(username=user, password="p"), log or Log())


def test_client_without_a_user_does_not_log_in():
    def fail(body):
        raise AssertionError("logs in")

    login = login_of(None)
    login.ensure(fail)
    assert login.headers() == {}


def closing(serve):
    """Return a server that closes each connection after one answer."""

    def closes(path, body):
        ((delay, piece),) = serve(path, body)
        return [(delay, piece.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)), (delay, b"")]

    return closes


def test_endpoint_that_closes_after_each_answer_is_logged_in_to_once(guarded):
    guarded.a.serve = closing(guarded.guard)
    guarded.call()
    guarded.call()
    assert guarded.guard.tokens == 1 and len(guarded.network.tried) == 3


def test_dead_token_is_replaced_where_each_answer_closes(guarded):
    guarded.a.serve = closing(guarded.guard)
    guarded.call()
    guarded.guard.tokens += 1
    guarded.call()
    assert guarded.guard.tokens == 3 and not [line for line in guarded.log.lines if line.startswith("error")]


def test_endpoint_that_closes_and_takes_no_token_is_not_asked_forever(guarded):
    guarded.a.serve = closing(lambda path, body: refusing(path, body, guarded.guard))
    with pytest.raises(Unavailable):
        guarded.call(0.05)
    assert len(guarded.network.tried) == 4


def refusing(path, body, guard):
    return guard(path, body) if path.endswith("authenticate") else says("etcdserver: invalid auth token")(path, body)


def test_log_shows_a_login_and_a_login_that_etcd_does_not_require():
    def refuse(body):
        raise AuthDisabled("x")

    log = Log()
    login_of(log=log).ensure(lambda body: {"token": "t"})
    refused = login_of(log=log)
    refused.ensure(refuse)
    assert refused.headers() == {}
    assert log.lines == [
        "debug: logged in as u",
        "info: username is set, but etcd's auth is not enabled: continuing without login",
    ]
