# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the connection race: the order and the intervals of attempts, and how a failure affects other candidates."""

from __future__ import annotations

import errno
import os
import select
import socket
import time

import pytest

from ctdb_etcd.client.race import Address, ConnectFailed, race
from ctdb_etcd.client.retry import reason
from ctdb_etcd.waiting import Patient
from tests.support.fake_network import A, B, Network, NetworkWaiter, fine
from tests.support.fakes import Clock, Waiter
from tests.support.machine import descriptors

NO_FAMILY = OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
NO_DESCRIPTOR = OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def address(endpoint, port, family=socket.AF_INET):
    return Address(endpoint, family, ("::1", port, 0, 0) if family == socket.AF_INET6 else ("127.0.0.1", port))


def soon():
    return time.monotonic() + 20


def break_sockets(monkeypatch, error, families):
    real = socket.socket

    def make(family=socket.AF_INET, *args, **options):
        if family in families:
            raise error
        return real(family, *args, **options)

    monkeypatch.setattr(socket, "socket", make)


def test_address_family_that_the_kernel_lacks_fails_its_candidate_only(monkeypatch, listener):
    port = listener.getsockname()[1]
    break_sockets(monkeypatch, NO_FAMILY, {socket.AF_INET6})
    found, sock = race([address("a:1", port, socket.AF_INET6), address("b:1", port)], Patient(), soon())
    with sock:
        assert found.endpoint == "b:1"


def test_each_endpoint_fails_at_once_if_no_socket_can_be_created(monkeypatch):
    break_sockets(monkeypatch, NO_DESCRIPTOR, {socket.AF_INET, socket.AF_INET6})
    began = time.monotonic()
    with pytest.raises(ConnectFailed) as failure:
        race([address("a:1", 1, socket.AF_INET6), address("b:1", 1)], Patient(), soon())
    assert failure.value.reasons == {"a:1": NO_DESCRIPTOR, "b:1": NO_DESCRIPTOR}
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("option", ["setsockopt", "connect_ex"])
def test_a_socket_that_fails_after_it_was_made_is_closed(monkeypatch, listener, option):
    class Broken(socket.socket):
        pass

    def fail(self, *args):
        raise NO_DESCRIPTOR

    setattr(Broken, option, fail)
    monkeypatch.setattr(socket, "socket", Broken)
    before = descriptors()
    with pytest.raises(ConnectFailed):
        race([address("a:1", listener.getsockname()[1])], Patient(), soon())
    assert not descriptors() - before


def test_silent_candidate_delays_the_next_by_a_twentieth_of_a_second(monkeypatch, listener):
    clock = Clock(monkeypatch)
    waiter = Waiter(clock)
    began = clock.now
    port = listener.getsockname()[1]
    with pytest.raises(ConnectFailed) as failure:
        race([address(f"{name}:1", port) for name in "abc"], waiter, began + 2)
    assert waiter.waits == pytest.approx([began + 0.05, began + 0.1, began + 2])
    assert [str(reason) for reason in failure.value.reasons.values()] == ["no connection in time"] * 3


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (errno.EACCES, "connecting is not permitted on this machine (SELinux?): see SELINUX in ctdb-etcd(7)"),
        (errno.EPERM, "Operation not permitted"),
        (errno.ENETUNREACH, "Network is unreachable"),
    ],
)
def test_refusal_of_kernel_is_explained(monkeypatch, code, why):
    class Refusing(socket.socket):
        def connect_ex(self, address):
            return code

    monkeypatch.setattr("socket.socket", Refusing)
    candidate = address("etcd1:2379", 2379)
    with pytest.raises(ConnectFailed) as failed:
        race([candidate], Patient(), soon())
    assert {endpoint: reason(error) for endpoint, error in failed.value.reasons.items()} == {"etcd1:2379": why}


# Over a fake network


@pytest.fixture
def network(monkeypatch):
    network = Network(monkeypatch, Clock(monkeypatch))
    network.a, network.b = network.server(A, fine), network.server(B, fine)
    return network


def candidates():
    return [Address(name, socket.AF_INET, ("127.0.0.%d" % number, number)) for number, name in enumerate([A, B], 1)]


def test_slow_candidate_is_waited_for_after_the_last_one_has_failed(network):
    network.a.connects = 0.5
    network.b.refuse()
    found, sock = race(candidates(), NetworkWaiter(network), network.clock.now + 2)
    assert found.endpoint == A and network.open() == [A] and network.sockets[sock.fileno()] is sock


def test_candidate_without_a_socket_leaves_the_earlier_one_its_name(monkeypatch, network):
    make = socket.socket

    def fail_second(*args):
        if network.sockets:
            raise NO_DESCRIPTOR
        return make(*args)

    monkeypatch.setattr(socket, "socket", fail_second)
    network.a.connects = 0.5
    assert race(candidates(), NetworkWaiter(network), network.clock.now + 2)[0].endpoint == A


def test_deadline_before_the_next_attempt_ends_the_race(network):
    network.a.never_connect()
    began = network.clock.now
    with pytest.raises(ConnectFailed):
        race(candidates(), NetworkWaiter(network), began + 0.03)
    assert network.clock.now == began + 0.03 and network.tried == [(A, began)] and not network.open()


def test_refusal_by_the_server_is_the_reason_of_its_endpoint(network):
    network.a.refuse()
    network.b.never_connect()
    with pytest.raises(ConnectFailed) as failed:
        race(candidates(), NetworkWaiter(network), network.clock.now + 2)
    reasons = failed.value.reasons
    assert isinstance(reasons[A], ConnectionRefusedError) and isinstance(reasons[B], TimeoutError)


def test_connected_socket_sends_small_requests_at_once(listener):
    _, sock = race([address("a:1", listener.getsockname()[1])], Patient(), soon())
    with sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) and sock.gettimeout() == 0


def test_connection_that_is_there_at_once_is_used(monkeypatch, listener):
    class Prompt(socket.socket):
        def connect_ex(self, address):
            super().connect_ex(address)
            select.select([], [self], [], 20)
            return 0

    monkeypatch.setattr(socket, "socket", Prompt)
    found, sock = race([address("a:1", listener.getsockname()[1])], Patient(), soon())
    with sock:
        assert found.endpoint == "a:1" and sock.getpeername() == listener.getsockname()
