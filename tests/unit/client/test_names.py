# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of DNS names and SRV records: a hanging lookup delays nothing else, and known addresses are used again."""

from __future__ import annotations

import _thread
import contextlib
import socket
import threading

import pytest

from ctdb_etcd.client import srv, v3
from ctdb_etcd.client.endpoints import Endpoints
from ctdb_etcd.errors import Refused, Unavailable
from tests.support.conf import parse
from tests.support.fake_network import FINE, A, B, Cluster, always, answer, says

OTHER = {"header": {"cluster_id": "99"}}
NUMBERS = {"m1": ("127.0.0.1", 1), "m2": ("127.0.0.2", 2)}


class Dns:
    """A fake resolver with addresses and SRV records. Lookups in `hanging` hang until the test is over."""

    def __init__(self, monkeypatch):
        self.hosts = {name: address for name, (address, _) in NUMBERS.items()}
        self.members = [("127.0.0.1", 1)]
        self.hanging, self.over = set(), threading.Event()
        self.asked = []
        self._numeric = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)
        monkeypatch.setattr(srv, "look_up", self._look_up)

    def wait_asked(self, *names):
        """Wait in real time for these lookups: fake time may pass before the asking thread has started."""
        for _ in range(2000):
            if self.asked == list(names):
                return
            self.over.wait(0.01)
        raise AssertionError(f"asked: {self.asked}")

    def _ask(self, name):
        self.asked.append(name)
        if name in self.hanging:
            self.over.wait(30)

    def _resolve(self, host, port, **more):
        text = host.decode() if isinstance(host, bytes) else host
        if text[0].isdigit():
            return self._numeric(host, port, **more)
        if more.get("flags"):
            raise socket.gaierror(-2, "Name or service not known")
        self._ask(text)
        if text not in self.hosts:
            raise socket.gaierror(-2, "Name or service not known")
        return self._numeric(self.hosts[text].encode(), port, type=socket.SOCK_STREAM)

    def _look_up(self, domain, protocol):
        self._ask(domain)
        if isinstance(self.members, OSError):
            raise self.members
        return self.members


@pytest.fixture
def dns(monkeypatch):
    dns = Dns(monkeypatch)
    start, ended = _thread.start_new_thread, []

    def start_counted(function, arguments):
        over = threading.Event()
        ended.append(over)

        def run(*given):
            function(*given)
            over.set()

        return start(run, arguments)

    monkeypatch.setattr(_thread, "start_new_thread", start_counted)
    yield dns
    dns.over.set()
    # A thread that starts late must not ask the next test's resolver.
    assert all(over.wait(20) for over in ended)


@pytest.fixture
def cluster(monkeypatch):
    return Cluster(monkeypatch)


def configured(cluster, text):
    """Give the cluster a client with this configuration, and return its endpoints."""
    config = parse(text)
    endpoints = Endpoints(config, cluster.waiter, cluster.log)
    cluster.client = v3.Client(endpoints)
    return endpoints


def test_a_name_is_looked_up_once(cluster, dns):
    configured(cluster, "host = m1:1")
    for _ in range(2):
        cluster.call()
    assert dns.asked == ["m1"] and cluster.network.tried[0][0] == A


def test_an_address_needs_no_name_server(cluster, dns):
    configured(cluster, "host = 127.0.0.1:1")
    cluster.call()
    assert not dns.asked


@pytest.mark.parametrize("hosts", ["m1:1, 127.0.0.2:2", "127.0.0.2:2, m1:1"])
def test_hanging_name_server_delays_another_endpoint_only_briefly(cluster, dns, hosts):
    dns.hanging.add("m1")
    cluster.waiter.hangs = True
    configured(cluster, f"host = {hosts}")
    began = cluster.clock.now
    assert cluster.call() == FINE and cluster.client.endpoint == B
    assert cluster.clock.now <= began + 0.25
    dns.wait_asked("m1")


def test_hanging_name_server_alone_is_waited_for_until_the_deadline(cluster, dns):
    dns.hanging.add("m1")
    cluster.waiter.hangs = True
    configured(cluster, "host = m1:1")
    deadline = cluster.clock.now + 4
    with pytest.raises(Unavailable, match="m1:1: the name servers give no answer"):
        cluster.call(4)
    assert cluster.clock.now <= deadline
    dns.wait_asked("m1")


def test_an_unknown_name_is_reported_and_looked_up_again(cluster, dns):
    del dns.hosts["m1"]
    configured(cluster, "host = m1:1")
    with pytest.raises(Unavailable, match="m1:1: Name or service not known"):
        cluster.call(1)
    assert len(dns.asked) > 1


def test_the_address_of_an_endpoint_that_fails_is_looked_up_again(cluster, dns):
    configured(cluster, "host = m1:2")
    cluster.network.servers["127.0.0.1:2"] = cluster.c
    cluster.c.refuse()
    cluster.clock.at(cluster.clock.now + 0.05, lambda: dns.hosts.update(m1="127.0.0.2"))
    assert cluster.call() == FINE and cluster.b.requests
    assert dns.asked == ["m1", "m1"]


FAULTY = [always(), always((0.0, b"SSH-2.0-x\r\n")), says("upstream is gone", 503), always((0.0, answer(200, OTHER)))]


@pytest.mark.parametrize("serve", FAULTY, ids=["silent", "no HTTP", "gateway", "another etcd"])
def test_address_where_something_else_listens_is_looked_up_again(cluster, dns, serve):
    configured(cluster, "host = m1:2")
    cluster.network.servers["127.0.0.1:2"] = cluster.c
    cluster.call()
    cluster.c.end_idle()
    cluster.c.serve = serve
    dns.hosts.update(m1="127.0.0.2")
    with contextlib.suppress(Refused):
        cluster.call()
    assert cluster.call() == FINE and cluster.b.requests
    assert dns.asked == ["m1", "m1"]


def test_the_address_that_failed_is_looked_up_again_once(cluster, dns):
    endpoints = configured(cluster, "host = m1:1")
    cluster.a.refuse()
    with pytest.raises(OSError):
        endpoints.connect(["m1:1"], cluster.clock.now + 1)
    cluster.a.error = 0
    for _ in range(3):
        endpoints.connect(["m1:1"], cluster.clock.now + 1)
    assert dns.asked == ["m1", "m1"]


def test_names_are_waited_for_no_longer_than_the_deadline(cluster, dns):
    dns.hanging.add("m1")
    cluster.waiter.hangs = True
    endpoints = configured(cluster, "host = m1:1, 127.0.0.2:2")
    deadline = cluster.clock.now + 0.125
    assert endpoints.connect(["m1:1", B], deadline)[0] == B
    # B's address is known. With a later deadline, the wait for m1 would last 0.25 s.
    assert endpoints.connect(["m1:1", B], deadline)[0] == B and cluster.clock.now == deadline
    dns.wait_asked("m1")


def test_a_known_address_does_not_depend_on_a_name_server_that_hangs_later(cluster, dns):
    configured(cluster, "host = m1:1")
    cluster.call()
    dns.hanging.add("m1")
    cluster.waiter.hangs = True
    cluster.a.refuse()
    cluster.a.end_idle()
    cluster.clock.at(cluster.clock.now + 1, lambda: setattr(cluster.a, "error", 0))
    assert cluster.call() == FINE


def test_lookup_that_hangs_is_waited_for_once(cluster, dns):
    endpoints = configured(cluster, "host = m1:1")
    endpoints.connect(["m1:1"], cluster.clock.now + 5)
    dns.hanging.add("m1")
    cluster.waiter.hangs = True
    endpoints.doubt("m1:1")
    began = cluster.clock.now
    for _ in range(3):
        endpoints.connect(["m1:1"], began + 5)
    assert cluster.clock.now == began + 0.25
    dns.wait_asked("m1", "m1")


# SRV records of a domain


def test_the_members_of_a_domain_are_looked_up_once(cluster, dns):
    dns.members = [("127.0.0.1", 1), ("127.0.0.2", 2)]
    endpoints = configured(cluster, "srv_domain = d")
    assert endpoints.names() == []
    for _ in range(2):
        cluster.call()
    assert dns.asked == ["d"] and endpoints.names() == [A, B]


def test_members_are_looked_up_again_when_none_answers(cluster, dns):
    configured(cluster, "srv_domain = d")
    cluster.call()
    cluster.a.refuse()
    cluster.a.end_idle()
    dns.members = [("127.0.0.2", 2)]
    assert cluster.call() == FINE and cluster.client.endpoint == B
    assert dns.asked == ["d", "d"]


def test_domain_no_longer_found_keeps_its_earlier_members(cluster, dns):
    configured(cluster, "srv_domain = d")
    cluster.call()
    cluster.a.refuse()
    cluster.a.end_idle()
    dns.members = OSError("none")
    cluster.clock.at(cluster.clock.now + 1, lambda: setattr(cluster.a, "error", 0))
    assert cluster.call() == FINE


def test_domain_whose_name_servers_hang_later_delays_only_briefly(cluster, dns):
    configured(cluster, "srv_domain = d")
    cluster.call()
    cluster.a.refuse()
    cluster.a.end_idle()
    dns.hanging.add("d")
    cluster.waiter.hangs = True
    began = cluster.clock.now
    cluster.clock.at(began + 0.05, lambda: setattr(cluster.a, "error", 0))
    assert cluster.call() == FINE and cluster.clock.now <= began + 0.4


@pytest.mark.parametrize("hangs", [True, False])
def test_domain_never_looked_up_is_waited_for_until_the_deadline(cluster, dns, hangs):
    dns.members = OSError("there are no SRV records")
    if hangs:
        dns.hanging.add("d")
        cluster.waiter.hangs = True
    configured(cluster, "srv_domain = d")
    deadline = cluster.clock.now + 4
    with pytest.raises(Unavailable, match="srv_domain d: " + ("the name servers" if hangs else "there are no")):
        cluster.call(4)
    assert cluster.clock.now <= deadline


def test_working_endpoint_comes_first_and_the_others_follow(cluster, dns):
    endpoints = configured(cluster, "host = 127.0.0.1:1, 127.0.0.2:2, 127.0.0.3:3")
    names = endpoints.names()
    endpoints.prefer(names[1])
    assert endpoints.names() == [names[1], names[2], names[0]]


def test_dead_address_of_a_name_is_skipped(cluster, dns, monkeypatch):
    def resolve(host, port, **more):
        if more.get("flags"):
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, 0, 0, "", address) for address in NUMBERS.values()]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    endpoints = configured(cluster, "host = m1:1")
    cluster.a.never_connect()
    endpoints.connect(["m1:1"], cluster.clock.now + 5)
    assert endpoints.address("m1:1") == NUMBERS["m2"][0] and cluster.network.open() == [B]
