# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of TLS stream errors, of the time limits of the gRPC probe, and of when TLS files are read again."""

from __future__ import annotations

import select
import ssl
from types import SimpleNamespace

import pytest

from ctdb_etcd.client import tls
from ctdb_etcd.client.http1 import Stream
from ctdb_etcd.client.tls import Tls, TlsStream
from ctdb_etcd.errors import Refused
from tests.support.fakes import Clock, Log

CLOSED = [ssl.SSLEOFError(8, "x"), ssl.SSLZeroReturnError(6, "x"), BrokenPipeError(32, "x"), ConnectionResetError()]


@pytest.fixture
def stream():
    """Return a TLS stream after its handshake. `waits` lists the events that it waited for."""
    stream = TlsStream.__new__(TlsStream)
    Stream.__init__(stream, None, None)
    stream.waits = []
    stream.wait = stream.waits.append
    return stream


def outcomes(*those):
    """Return an operation that returns or raises these in turn."""
    left = list(those)

    def operation():
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return operation


@pytest.mark.parametrize("event", [select.POLLIN, select.POLLOUT])
def test_operation_waits_for_what_tls_needs_and_not_for_its_own_event(stream, event):
    operation = outcomes(ssl.SSLWantWriteError(), ssl.SSLWantReadError(), ssl.SSLWantWriteError(), 7)
    assert stream.when_ready(event, operation) == 7
    assert stream.waits == [select.POLLOUT, select.POLLIN, select.POLLOUT]


@pytest.mark.parametrize("error", CLOSED, ids=lambda error: type(error).__name__)
def test_each_end_of_a_connection_is_one_error(stream, error):
    stream.receive = None
    with pytest.raises(ConnectionResetError, match="^the connection was closed$"):
        stream.when_ready(select.POLLIN, outcomes(error))


@pytest.mark.parametrize("error", CLOSED, ids=lambda error: type(error).__name__)
def test_failed_send_reads_why_the_server_closed_the_connection(stream, error):
    alert = ssl.SSLError(1, "TLSV13_ALERT_CERTIFICATE_REQUIRED")
    stream.receive = outcomes(alert)
    with pytest.raises(ssl.SSLError) as failure:
        stream.when_ready(select.POLLOUT, outcomes(error))
    assert failure.value is alert


def test_failed_send_without_a_reason_is_a_closed_connection(stream):
    stream.receive = outcomes(b"")
    with pytest.raises(ConnectionResetError, match="^the connection was closed$"):
        stream.when_ready(select.POLLOUT, outcomes(BrokenPipeError()))


def test_other_error_of_tls_is_raised_as_it_is(stream):
    error = ssl.SSLError(1, "x")
    with pytest.raises(ssl.SSLError) as failure:
        stream.when_ready(select.POLLIN, outcomes(error))
    assert failure.value is error


def test_error_of_tls_without_a_reason_is_reported_with_its_text():
    error = ssl.SSLError(1, "odd")
    error.reason = None
    explained = tls.explain(error, "h", SimpleNamespace(ca_cert=None, cert=None))
    assert str(explained).startswith("TLS: ") and "odd" in str(explained)


# Time limits of the probe for gRPC only


@pytest.mark.parametrize("left, waited", [(9.0, 0.5), (0.25, 0.25)])
def test_server_has_half_a_second_to_end_the_first_connection(monkeypatch, left, waited):
    clock, made = Clock(monkeypatch), []

    class Probed:
        def __init__(self, sock, waiter, context, host, until):
            self.args, self.deadline, self.closed = (sock, waiter, host), until, 0
            made.append(self)

        def receive(self):
            clock.until(self.deadline)
            raise TimeoutError

        def close(self):
            self.closed += 1

    monkeypatch.setattr(tls, "TlsStream", Probed)
    began = clock.now
    with pytest.raises(TimeoutError):
        Tls(SimpleNamespace(ca_cert=None, cert=None), Log()).grpc_only(lambda: "s", "w", "h", began + left)
    assert clock.now == began + waited and [one.args for one in made] == [("s", "w", "h")] and made[0].closed == 1


@pytest.mark.parametrize("end", [b"", ConnectionResetError("closed")])
def test_second_connection_may_take_the_time_that_is_left(monkeypatch, end):
    clock, made, contexts, closed = Clock(monkeypatch), [], [], []

    class Probed:
        def __init__(self, sock, waiter, context, host, until):
            made.append((sock, waiter, host, until))
            contexts.append(context)
            self.receive = outcomes(end if len(made) == 1 else b"\0\0\0\4\0\0\0\0\0")

        def close(self):
            closed.append(self)

    monkeypatch.setattr(tls, "TlsStream", Probed)
    subject = Tls(SimpleNamespace(ca_cert=None, cert=None), Log())
    assert subject.grpc_only(lambda: "s", "w", "h", clock.now + 9) is True
    assert made == [("s", "w", "h", clock.now + 9)] * 2 and contexts[0] is not contexts[1] and len(closed) == 2


# TLS files


def test_same_fault_is_logged_again_after_good_files(monkeypatch):
    files = SimpleNamespace(stamp=0, fault="")

    def context(config):
        if files.fault:
            raise Refused(files.fault)

    monkeypatch.setattr(tls, "context", context)
    monkeypatch.setattr(tls, "stamp", lambda config: files.stamp)
    monkeypatch.setattr(tls, "TlsStream", lambda *_: None)
    log = Log()
    subject = Tls(None, log)
    for files.stamp, files.fault in enumerate(["bad", "bad", "worse", "", "worse"], 1):
        subject.stream(None, None, "h", 0)
    failed = "error: going on with the certificates that were read before: "
    assert log.lines == [
        f"{failed}bad",
        f"{failed}worse",
        "info: certificates have changed and were read again",
        f"{failed}worse",
    ]


def test_missing_file_has_a_stamp_of_its_own(tmp_path):
    config = SimpleNamespace(ca_cert=str(tmp_path / "ca"), cert=(str(tmp_path / "cert"), str(tmp_path / "key")))
    for name in "ca", "cert", "key":
        before = tls.stamp(config)
        assert tls.stamp(config) == before and len(before) == 3
        (tmp_path / name).write_text("x")
        assert tls.stamp(config) != before
    # A missing file under another name is another fault.
    stamps = [tls.stamp(SimpleNamespace(ca_cert=f"{tmp_path}/none{number}", cert=None)) for number in range(2)]
    assert stamps[0] != stamps[1]


def test_system_without_a_file_of_authorities_has_no_stamp(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    assert tls.stamp(SimpleNamespace(ca_cert=None, cert=None)) == []
