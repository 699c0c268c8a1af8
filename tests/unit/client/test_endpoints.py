# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Connecting: in which order and how far apart, and what a failure of one candidate costs the others."""

from __future__ import annotations

import _thread
import errno
import gc
import os
import socket
import threading
import time

import pytest

from ctdb_etcd.client import endpoints as subject
from ctdb_etcd.client.endpoints import Address, ConnectFailed, Endpoints, race
from ctdb_etcd.client.retry import reason
from ctdb_etcd.waiting import Patient
from tests.support.conf import parse
from tests.support.fakes import Clock, Log, Waiter

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


def descriptors():
    gc.collect()  # what an earlier test has left
    return len(os.listdir("/proc/self/fd"))


def test_an_address_family_that_the_kernel_lacks_costs_only_its_candidate(monkeypatch, listener):
    port = listener.getsockname()[1]
    break_sockets(monkeypatch, NO_FAMILY, {socket.AF_INET6})
    found, sock = race([address("a:1", port, socket.AF_INET6), address("b:1", port)], Patient(), soon())
    with sock:
        assert found.endpoint == "b:1"


def test_where_no_socket_can_be_made_each_endpoint_has_that_reason_at_once(monkeypatch):
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
    assert descriptors() == before


def test_a_silent_candidate_costs_the_next_one_a_twentieth_of_a_second(monkeypatch, listener):
    clock = Clock(monkeypatch)
    waiter = Waiter(clock)
    began = clock.now
    port = listener.getsockname()[1]
    with pytest.raises(ConnectFailed) as failure:
        race([address(f"{name}:1", port) for name in "abc"], waiter, began + 2)
    assert waiter.waits == pytest.approx([began + 0.05, began + 0.1, began + 2])
    assert [str(reason) for reason in failure.value.reasons.values()] == ["no connection in time"] * 3


def test_older_answers_of_dns_are_used_after_a_quarter_of_a_second(monkeypatch):
    waiting = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", answers := Answers())
    endpoints = Endpoints(parse("host = m.test"), Patient(), Log())
    answers.now = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]
    with pytest.raises(ConnectFailed):
        endpoints.connect(["m.test:2379"], soon())
    answers.wait_for = waiting
    clock = Clock(monkeypatch)
    waiter = Waiter(clock)
    endpoints._waiter = waiter
    began = clock.now
    with pytest.raises(ConnectFailed):
        endpoints.connect(["m.test:2379"], began + 9)
    assert waiter.waits[0] == pytest.approx(began + 0.25)
    waiting.set()


class Answers:
    """getaddrinfo: only numbers are known at once."""

    def __init__(self):
        self.now = None
        self.wait_for = None

    def __call__(self, host, port, *, flags=0, **_):
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        if self.wait_for:
            self.wait_for.wait(20)
        return self.now


def connect_in_vain(endpoints, names):
    with pytest.raises(ConnectFailed) as failure:
        endpoints.connect(names, soon())
    return {endpoint: str(reason) for endpoint, reason in failure.value.reasons.items()}


@pytest.mark.parametrize("what", ["thread", "descriptor"])
def test_a_name_that_no_thread_can_look_up_costs_only_its_endpoint(monkeypatch, listener, what):
    if what == "thread":

        def fail(*_):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(_thread, "start_new_thread", fail)
    else:

        def fail():
            raise NO_DESCRIPTOR

        monkeypatch.setattr(os, "pipe", fail)
    before = descriptors()
    port = listener.getsockname()[1]
    endpoints = Endpoints(parse(f"host = m.test, 127.0.0.1:{port}"), Patient(), Log())
    found, sock = endpoints.connect(["m.test:2379", f"127.0.0.1:{port}"], soon())
    sock.close()
    assert found.endpoint == f"127.0.0.1:{port}"
    assert connect_in_vain(endpoints, ["m.test:2379"])["m.test:2379"]
    assert descriptors() == before


def test_members_that_no_thread_can_look_up_are_those_of_before(monkeypatch):
    def fail(*_):
        raise NO_DESCRIPTOR

    endpoints = Endpoints(parse("srv_domain = x.test"), Patient(), Log())
    with monkeypatch.context() as broken, pytest.raises(OSError, match="open files"):
        broken.setattr(subject, "Task", fail)
        endpoints.find(soon())
    endpoints._adopt([("127.0.0.1", 1)])
    monkeypatch.setattr(subject, "Task", fail)
    endpoints.find(soon())
    assert endpoints.names() == ["127.0.0.1:1"]


@pytest.mark.parametrize("name", ["a..b", ".", ".x", "x" * 64, "x." * 200, "b\u00fccher.test", "\u2024\u2024"])
def test_a_name_that_is_none_is_a_failure_to_resolve_it(monkeypatch, name):
    real = socket.getaddrinfo
    # The rest of the way is the C library's, and a name server's.
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: real(*args, flags=socket.AI_NUMERICHOST))
    endpoints = Endpoints(parse("host = 127.0.0.1"), Patient(), Log())
    endpoints._adopt([(name, 1)])
    assert connect_in_vain(endpoints, endpoints.names()).keys() == {f"{name}:1"}


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
