# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Calls of the v2 API: python-etcd in threads that are left behind, and what each of its errors means."""

from __future__ import annotations

import ssl
import threading

import pytest

etcd = pytest.importorskip("etcd", reason="python3-etcd is not installed")

from ctdb_etcd.client.endpoints import Endpoints  # noqa: E402
from ctdb_etcd.client.v2 import Client, Unanswered, client_keywords  # noqa: E402
from ctdb_etcd.errors import OtherCluster, Refused, Stopped, Unavailable  # noqa: E402
from tests.support.conf import parse  # noqa: E402
from tests.support.fake_network import A, B, C, Cluster  # noqa: E402


class Pythons:
    """What stands for python-etcd's clients: each does what its endpoint's action says, and is counted."""

    def __init__(self, monkeypatch):
        self.made, self.over = [], threading.Event()
        monkeypatch.setattr(etcd, "Client", self._make)

    def _make(self, **keywords):
        name = f"{keywords['host']}:{keywords['port']}"
        self.made.append(name)
        return name

    def hang(self):
        self.over.wait(30)
        return "late"


class Rig(Cluster):
    """The cluster with a v2 client; `actions` says what each endpoint does: an error, or what it returns."""

    def __init__(self, monkeypatch):
        super().__init__(monkeypatch)
        self.pythons = Pythons(monkeypatch)
        self.actions, self.asked = {}, []
        self.v2()

    def v2(self, count=3, more=""):
        config = parse(f"host = {', '.join([A, B, C][:count])},\n{more}")
        self.client = Client(config, Endpoints(config, self.waiter, self.log), self.waiter, self.log)
        return self.client

    def operation(self, client):
        self.asked.append(client)
        action = self.actions.get(client, "fine")
        if callable(action):
            action = action()
        if isinstance(action, BaseException):
            raise action
        return action

    def call(self, seconds=8.0):
        return self.client.call(self.operation, self.clock.now + seconds)

    def call_once(self, seconds=8.0):
        return self.client.call_once(self.operation, self.clock.now + seconds)


@pytest.fixture
def rig(monkeypatch):
    rig = Rig(monkeypatch)
    yield rig
    rig.pythons.over.set()


def failed(text):
    return etcd.EtcdConnectionFailed(f"Connection to etcd failed due to {text}")


def test_the_first_endpoint_is_asked_by_one_client(rig):
    for _ in range(3):
        assert rig.call() == "fine"
    assert rig.asked == [A] * 3 and rig.pythons.made == [A] and rig.client.endpoint == A
    # The connection by which its address was tried is not kept.
    assert not rig.network.open()


def test_an_endpoint_that_fails_is_left_for_the_next_which_stays(rig):
    rig.actions[A] = failed("x")
    for _ in range(2):
        assert rig.call() == "fine"
    assert rig.asked == [A, B, B] and rig.client.endpoint == B


def test_an_endpoint_that_cannot_be_connected_to_is_left_for_the_next(rig):
    rig.a.refuse()
    assert rig.call() == "fine" and rig.asked == [B]


def test_a_call_that_hangs_is_left_behind_with_its_client(rig):
    rig.actions[A] = rig.pythons.hang
    rig.waiter.hangs = True
    began = rig.clock.now
    with pytest.raises(Unavailable, match="no answer in"):
        rig.v2(1, "read_timeout = 1")
        rig.call(4)
    assert rig.clock.now <= began + 4
    # Each try has a client of its own.
    assert len(rig.pythons.made) == len(rig.asked) > 1


@pytest.mark.parametrize("seconds, waited", [(60, 3.0), (3, 1.0)])
def test_a_call_that_hangs_has_the_read_timeout_at_most_and_its_share(rig, seconds, waited):
    rig.actions[A] = rig.pythons.hang
    rig.waiter.hangs = True
    rig.clock.at(rig.clock.now + waited, lambda: setattr(rig.waiter, "hangs", False))
    began = rig.clock.now
    assert rig.call(seconds) == "fine" and rig.asked == [A, B]
    assert rig.clock.now == began + waited


@pytest.mark.parametrize("error", [etcd.EtcdKeyNotFound, etcd.EtcdCompareFailed])
def test_what_etcd_says_of_a_key_is_raised_and_the_client_kept(rig, error):
    rig.actions[A] = error("x")
    for call in rig.call, rig.call_once:
        with pytest.raises(error):
            call()
    assert rig.asked == [A, A] and rig.pythons.made == [A]


CLOSED = "(Caused by ReadTimeoutError(\"<urllib3.X object at 0x7f>: Read timed out\"))"
MEANING = [
    (etcd.EtcdInsufficientPermissions("x"), Refused, "role grant ROLE --path '/_locks/_ctdb/NAME\\*' --readwrite"),
    (failed("RemoteDisconnected('x')"), Unavailable, "perhaps it needs protocol = https"),
    (failed(CLOSED), Unavailable, "Read timed out"),
    (failed("anything"), Unavailable, "anything"),
    (etcd.EtcdException("Bad response : 404 page not found"), Refused, "the v2 API is not served"),
    (etcd.EtcdException("Bad response : <html>"), Unavailable, "etcd says: Bad response"),
    (etcd.EtcdLeaderElectionInProgress("x"), Unavailable, "etcd says: x"),
    (etcd.EtcdClusterIdChanged("It changed."), OtherCluster, "expected_cluster_id"),
    (ValueError("garbage"), Unavailable, "etcd says: garbage"),
    (KeyError(), Unavailable, "etcd says: KeyError"),
    (RecursionError("deep"), Unavailable, "etcd says: deep"),
]


@pytest.mark.parametrize("error, kind, says", MEANING)
def test_what_each_error_of_python_etcd_means(rig, error, kind, says):
    rig.v2(1)
    rig.actions[A] = error
    with pytest.raises(kind, match=says) as failure:
        rig.call(1)
    assert failure.type is kind


def test_a_failure_of_tls_is_found_below_the_wrappings(rig):
    class Wrapped(Exception):
        pass

    inner = ssl.SSLCertVerificationError(1, "x")
    inner.verify_code, inner.verify_message = 10, "expired"
    outer = Wrapped("x")
    outer.reason = inner
    error = etcd.EtcdConnectionFailed("x", cause=outer)
    rig.v2(1)
    rig.actions[A] = error
    with pytest.raises(Refused, match="its certificate has expired"):
        rig.call(1)


def test_what_no_endpoint_will_do_is_refused_and_what_one_may_is_not(rig):
    for name in A, B, C:
        rig.actions[name] = etcd.EtcdException("Bad response : 404 page not found")
    with pytest.raises(Refused):
        rig.call()
    assert rig.asked == [A, B, C]
    rig.actions[B] = "fine"
    assert rig.call() == "fine"


# What must not be repeated


def test_a_call_that_may_have_had_its_effect_is_not_repeated(rig):
    rig.actions[A] = failed("x")
    with pytest.raises(Unanswered, match="x"):
        rig.call_once()
    assert rig.asked == [A]
    # The next one goes elsewhere.
    assert rig.call_once() == "fine" and rig.asked == [A, B]


@pytest.mark.parametrize("error", [Refused, OtherCluster])
def test_a_refusal_is_one_also_where_nothing_is_repeated(rig, error):
    rig.actions[A] = etcd.EtcdInsufficientPermissions("x") if error is Refused else etcd.EtcdClusterIdChanged("x")
    with pytest.raises(Refused if error is Refused else Unanswered):
        rig.call_once()
    assert rig.asked == [A]


def test_a_call_that_hangs_and_is_not_repeated_leaves_half_the_time(rig):
    rig.actions[A] = rig.pythons.hang
    rig.waiter.hangs = True
    began = rig.clock.now
    with pytest.raises(Unanswered):
        rig.call_once(4)
    assert rig.clock.now == began + 2 and rig.asked == [A]


@pytest.mark.parametrize("once", [True, False])
def test_a_stop_ends_a_call_that_hangs(rig, once):
    rig.actions[A] = rig.pythons.hang
    rig.waiter.hangs = True
    rig.waiter.stop_at(rig.clock.now + 0.5)
    with pytest.raises(Stopped):
        (rig.call_once if once else rig.call)()


@pytest.mark.parametrize("once", [True, False])
def test_after_a_stop_nothing_is_begun(rig, once):
    rig.waiter.stop = "SIGTERM"
    with pytest.raises(Stopped):
        (rig.call_once if once else rig.call)()
    assert not rig.asked and not rig.network.tried


# How python-etcd is set up


def test_python_etcd_goes_to_one_address_and_never_elsewhere_by_itself():
    keywords = client_keywords(parse("host = a, b"), ("::1", 7))
    assert (keywords["host"], keywords["port"], keywords["srv_domain"]) == ("[::1]", 7, None)
    assert keywords["allow_reconnect"] is False and keywords["use_proxies"] is True
