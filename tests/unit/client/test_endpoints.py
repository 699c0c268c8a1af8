# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of endpoint addresses: an invalid name, or a lack of threads or descriptors, affects only its endpoint."""

from __future__ import annotations

import _thread
import errno
import os
import select
import socket
import threading
import time

import pytest

from ctdb_etcd.client import endpoints as subject
from ctdb_etcd.client.endpoints import Endpoints
from ctdb_etcd.client.race import ConnectFailed
from ctdb_etcd.waiting import Patient
from tests.support.conf import parse
from tests.support.fakes import Clock, Log, Waiter
from tests.support.machine import descriptors
from tests.support.names import black_hole

NO_DESCRIPTOR = OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def soon():
    return time.monotonic() + 20


def test_older_dns_answer_is_used_after_a_quarter_of_a_second(monkeypatch):
    waiting = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", answers := Answers())
    endpoints = Endpoints(parse("host = m.test"), Patient(), Log())
    answers.now = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]
    with pytest.raises(ConnectFailed):
        endpoints.connect(["m.test:2379"], soon())
    answers.wait_for = waiting
    clock = Clock(monkeypatch)
    waiter = Waiter(clock)
    endpoints.waiter = waiter
    began = clock.now
    with pytest.raises(ConnectFailed):
        endpoints.connect(["m.test:2379"], began + 9)
    assert waiter.waits[0] == pytest.approx(began + 0.25)
    waiting.set()
    late = endpoints._lookups["m.test:2379"]
    assert select.select([late.done], [], [], 20)[0] and late.result()


class Answers:
    """A fake getaddrinfo: no host is a number, and the answer `now` comes after the event `wait_for`, if any."""

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


def test_separate_connection_to_a_dead_endpoint_times_out_early():
    with black_hole("127.0.0.1") as port:
        name = f"127.0.0.1:{port}"
        # The separate connection does not use the waiter of the endpoints (None here): only deadlines end its waits.
        apart = Endpoints(parse(f"host = {name}"), None, Log()).apart(name)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            apart.get(name, "/x", began + 60)
        assert time.monotonic() - began < 30


@pytest.mark.parametrize("what", ["thread", "descriptor"])
def test_name_that_no_thread_can_look_up_fails_only_its_endpoint(monkeypatch, listener, what):
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
    assert found == f"127.0.0.1:{port}"
    assert connect_in_vain(endpoints, ["m.test:2379"])["m.test:2379"]
    assert not descriptors() - before


def test_earlier_members_stay_if_no_thread_can_look_them_up(monkeypatch):
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
def test_invalid_host_name_fails_to_resolve(monkeypatch, name):
    real = socket.getaddrinfo
    # The C library and a name server do the rest of a lookup. AI_NUMERICHOST leaves it out.
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: real(*args, flags=socket.AI_NUMERICHOST))
    endpoints = Endpoints(parse("host = 127.0.0.1"), Patient(), Log())
    endpoints._adopt([(name, 1)])
    assert connect_in_vain(endpoints, endpoints.names()).keys() == {f"{name}:1"}
