# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the locks that a file means, down to the bytes sent: api = 3, 2 and auto, with and without v2 in etcd."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("etcd", reason="python3-etcd is not installed")

from urllib.parse import parse_qsl  # noqa: E402

from ctdb_etcd.errors import Contended, Lost, Refused, Unavailable  # noqa: E402
from ctdb_etcd.lock.open import apis_in_use, open_lock  # noqa: E402
from ctdb_etcd.lock.takeover import Contender  # noqa: E402
from tests.support.conf import parse  # noqa: E402
from tests.support.fake_network import A, Cluster, answer  # noqa: E402
from tests.support.fake_v2 import EtcdV2  # noqa: E402
from tests.support.fake_v3 import EtcdV3  # noqa: E402
from tests.support.fakes import Holder  # noqa: E402
from tests.support.rigs import NonceFile  # noqa: E402

SAMBA = "/_locks/_ctdb/X/00000000000000000001"
NOT_SERVED = answer(404, b"404 page not found\n")


class Etcd(Cluster):
    """One etcd at endpoint a, which also serves v2 if `both`. `lock` opens the lock of a file."""

    def __init__(self, monkeypatch, both):
        super().__init__(monkeypatch)
        self.v3, self.v2, self.both = EtcdV3(self.clock), EtcdV2(self.clock), both
        self.a.serve = self.serve

    def serve(self, path, body):
        if path.startswith("/v3/"):
            return [(0.0, answer(*self.v3.answer(path[len("/v3/") :], body)))]
        if not self.both:
            return [(0.0, NOT_SERVED)]
        name, _, query = path[len("/v2/keys") :].rstrip("/").partition("?")
        params = {**dict(parse_qsl(query)), **body}
        if "ttl" in params:
            params["ttl"] = int(params["ttl"])
        return [(0.0, answer(*self.v2.answer(self.a.methods[-1], name.rstrip("/"), params)))]

    def lock(self, text="", elsewhere=""):
        return open_lock(parse(f"host = {A},\n{text}"), "X", lambda: elsewhere, self.waiter, self.log)

    def take(self, lock, seconds=4.0):
        contender = self.contender(seconds)
        lock.look(contender, contender.latest)
        return lock.take(contender, contender.latest)

    def contender(self, seconds=4.0):
        return Contender(Holder("us"), NonceFile(), False, self.clock.now + seconds, self.waiter, self.log)

    def held(self):
        """Return the APIs in which we hold the lock."""
        return [api for api, etcd in (("3", self.v3), ("2", self.v2)) if list(etcd.keys.values()) == ["us"]]

    def asked(self):
        """Return the APIs that were sent a request."""
        return sorted({path[2] for path in self.a.paths})


@pytest.fixture(params=[True, False], ids=["with v2", "without v2"])
def etcd(monkeypatch, request):
    return Etcd(monkeypatch, request.param)


@pytest.fixture
def both(monkeypatch):
    return Etcd(monkeypatch, True)


@pytest.mark.parametrize(
    "api, served, apis",
    [
        ("3", True, ["3"]),
        ("2", False, ["2"]),
        ("auto", True, ["3", "2"]),
        ("auto", False, ["3"]),
        ("auto", None, ["3"]),
    ],
)
def test_apis_in_use_are_those_of_the_file_or_what_etcd_serves(api, served, apis):
    assert apis_in_use(parse(f"host = a\napi = {api}"), served) == apis


def test_api_3_uses_only_the_v3_lock(etcd):
    etcd.take(etcd.lock("api = 3"))
    assert etcd.held() == ["3"] and etcd.asked() == ["3"]


def test_api_2_uses_only_the_v2_lock(both):
    both.take(both.lock("api = 2"))
    assert both.held() == ["2"] and both.asked() == ["2"]


def test_auto_uses_v3_and_also_v2_if_it_is_served(etcd):
    lock = etcd.lock()
    grant = etcd.take(lock)
    assert etcd.held() == (["3", "2"] if etcd.both else ["3"]) and etcd.asked() == ["2", "3"]
    assert grant.ttl == 9
    lock.refresh(etcd.clock.now + 4)
    lock.release(etcd.clock.now + 4)
    assert etcd.held() == []


@pytest.mark.parametrize("text", ["api = 2", "api = auto"])
def test_lock_of_sambas_helper_is_contention_and_leaves_nothing_of_ours(both, text):
    both.v2.put(SAMBA, "uuid_0")
    lock = both.lock(text)
    with pytest.raises(Contended) as contention:
        both.take(lock)
    lock.release(both.clock.now + 4)
    assert str(contention.value) == "uuid_0"
    assert not both.v3.keys and not both.v3.leases and list(both.v2.keys) == [SAMBA]


def test_lock_taken_by_sambas_helper_meanwhile_is_contention_too(both):
    lock = both.lock()
    lock.look(both.contender(), both.clock.now + 4)
    both.v2.put(SAMBA, "uuid_0")
    with pytest.raises(Contended):
        lock.take(both.contender(), both.clock.now + 4)
    lock.release(both.clock.now + 4)
    assert not both.v3.keys and list(both.v2.keys) == [SAMBA]


def test_contention_on_the_v3_lock_ends_the_try_before_v2_is_queried(both):
    both.v3.put("/_locks/_ctdb/X/1", "them")
    with pytest.raises(Contended):
        both.take(both.lock())
    assert both.asked() == ["3"]


def test_the_directory_is_that_of_the_file_in_both_apis_and_in_the_log(both):
    both.take(both.lock("lock_prefix = /p\nlocks_dir = d\n"))
    assert [name.rpartition("/")[0] for etcd in (both.v3, both.v2) for name in etcd.keys] == ["/p/d/X", "/p/d/X"]
    assert both.log.lock == "/p/d/X/"


def test_the_lock_that_is_taken_must_be_shared_by_all_nodes(etcd):
    etcd.v3.members = [{"clientURLs": ["http://localhost:2379"]}]
    with pytest.raises(Refused, match="198.51.100.1 takes part in the lock as well"):
        etcd.take(etcd.lock("api = 3", "198.51.100.1"))


def test_missing_permission_to_list_members_is_logged(etcd):
    good = etcd.a.serve
    denied = answer(403, b'{"error": "etcdserver: permission denied", "code": 7}')
    etcd.a.serve = lambda path, body: [(0.0, denied)] if path.endswith("member/list") else good(path, body)
    etcd.take(etcd.lock("api = 3", "198.51.100.1"))
    assert any(line.startswith("error: 127.0.0.1:1 does not let us list its members") for line in etcd.log.lines)


# v2 comes back


def holding(etcd, text=""):
    lock = etcd.lock(text)
    etcd.take(lock)
    lock.refresh(etcd.clock.now + 4)
    return lock


def asked_for_v2(etcd):
    return sum(path.startswith("/v2/") for path in etcd.a.paths)


def test_holder_ends_if_a_new_connection_serves_v2(monkeypatch):
    etcd = Etcd(monkeypatch, False)
    lock = holding(etcd)
    etcd.both = True
    # v2 is not queried again on the same connection.
    lock.refresh(etcd.clock.now + 4)
    assert asked_for_v2(etcd) == 1
    etcd.a.end_idle()
    with pytest.raises(Lost, match="127.0.0.1:1 now serves the v2 API, where a node with Samba's helper could hold"):
        lock.refresh(etcd.clock.now + 4)


def test_lock_is_given_up_if_v2_comes_back_before_it_is_taken(monkeypatch):
    etcd = Etcd(monkeypatch, False)
    lock = etcd.lock()
    lock.look(etcd.contender(), etcd.clock.now + 4)
    etcd.both = True
    etcd.a.end_idle()
    with pytest.raises(Lost, match="now serves the v2 API"):
        lock.take(etcd.contender(), etcd.clock.now + 4)


def test_v2_is_queried_once_for_each_new_connection(monkeypatch):
    etcd = Etcd(monkeypatch, False)
    lock = holding(etcd)
    for times in (2, 3):
        etcd.a.end_idle()
        lock.refresh(etcd.clock.now + 4)
        lock.refresh(etcd.clock.now + 4)
        assert asked_for_v2(etcd) == times


def test_v2_is_queried_again_until_there_is_an_answer(monkeypatch):
    etcd = Etcd(monkeypatch, False)
    lock, good = holding(etcd), etcd.a.serve
    etcd.a.end_idle()
    etcd.a.serve = lambda path, body: [(0.0, answer(500, b""))] if path.startswith("/v2/") else good(path, body)
    lock.refresh(etcd.clock.now + 4)
    etcd.a.serve, etcd.both = good, True
    with pytest.raises(Lost, match="now serves the v2 API"):
        lock.refresh(etcd.clock.now + 4)


@pytest.mark.parametrize("text, both", [("api = 3", False), ("", True)])
def test_v2_is_not_queried_with_api_3_or_if_it_is_locked_too(monkeypatch, text, both):
    etcd = Etcd(monkeypatch, both)
    lock = holding(etcd, text)
    etcd.both = True
    etcd.a.end_idle()
    lock.refresh(etcd.clock.now + 4)
    assert not [path for path in etcd.a.paths if path.startswith("/v2/")] or both


# Without python-etcd


@pytest.fixture
def no_python_etcd(monkeypatch):
    monkeypatch.delattr("ctdb_etcd.lock.v2", raising=False)
    monkeypatch.delitem(sys.modules, "ctdb_etcd.lock.v2", raising=False)
    monkeypatch.setitem(sys.modules, "etcd", None)


def test_api_2_without_python_etcd_reports_what_to_install(both, no_python_etcd):
    with pytest.raises(Refused, match="install python3-etcd, or set api = 3"):
        both.lock("api = 2")


def test_auto_without_python_etcd_is_refused_only_if_v2_is_served(etcd, no_python_etcd):
    lock = etcd.lock()
    if etcd.both:
        with pytest.raises(Refused, match="install python3-etcd"):
            etcd.take(lock)
        assert not etcd.v3.keys
    else:
        etcd.take(lock)
        assert etcd.held() == ["3"]


@pytest.mark.parametrize("left, fine", [(1.0, True), (0.95, False)])
def test_lock_is_not_taken_with_too_little_time_to_load_python_etcd(both, left, fine):
    lock = both.lock()
    if fine:
        both.take(lock, left)
        assert both.held() == ["3", "2"]
    else:
        with pytest.raises(Unavailable, match="too little time is left to load python-etcd"):
            both.take(lock, left)
        assert both.held() == []


@pytest.mark.parametrize("left", [0.1, 4.0])
def test_little_time_is_enough_if_python_etcd_is_not_loaded(monkeypatch, left):
    etcd = Etcd(monkeypatch, False)
    etcd.take(etcd.lock(), left)
    assert etcd.held() == ["3"]
