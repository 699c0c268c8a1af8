# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of a TLS stream to a server thread: the handshake, both directions, the end, and the client certificate."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

from ctdb_etcd.client.tls import Tls, TlsStream, context
from ctdb_etcd.errors import EndpointRefused, Refused
from ctdb_etcd.waiting import Patient
from tests.support.certs import Authority
from tests.support.fakes import Log

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")

SETTINGS = b"\0\0\0\4\0\0\0\0\0"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def certificate(pki):
    """Return a certificate for both the server and the client."""
    return pki.issue("server", "IP:127.0.0.1,IP:fe80::1")


@pytest.fixture
def tls(pki):
    return Tls(SimpleNamespace(ca_cert=pki.ca, cert=None), Log())


def soon(seconds=20.0):
    return time.monotonic() + seconds


class Server:
    """A server for one connection. It completes the handshake and runs `action`. `alpn` is the agreed protocol."""

    def __init__(self, certificate, action, require=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate.cert, certificate.key)
        self.context.set_alpn_protocols(["h2"])
        if require:
            self.context.load_verify_locations(require)
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.action, self.alpn, self.client = action, None, None
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def connect(self):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(20)
        self._theirs = theirs
        self.client = ours
        self.thread.start()
        return ours

    def _serve(self):
        with suppress(OSError), self.context.wrap_socket(self._theirs, server_side=True) as secured:
            self.alpn = secured.selected_alpn_protocol()
            self.action(secured)

    def end(self):
        """Wait until the server thread has ended."""
        self.thread.join(20)
        assert not self.thread.is_alive()


def nothing(secured):
    secured.recv(1)


def echo(secured):
    while True:
        data = secured.recv(65536)
        if not data:
            break
        secured.sendall(data)


def test_large_data_passes_a_tls_stream_both_ways(tls, certificate):
    server = Server(certificate, echo)
    stream = tls.stream(server.connect(), Patient(), "127.0.0.1", soon())
    sent = bytes(range(256)) * 4096
    got = bytearray()
    assert stream.deadline > time.monotonic()
    # The buffers of both directions are smaller than the data, so sending and receiving alternate.
    for start in range(0, len(sent), 16384):
        stream.send(sent[start : start + 16384])
        while len(got) < start + 16384:
            got += stream.receive()
    assert bytes(got) == sent
    stream.close()
    server.end()
    assert server.alpn is None


def test_zone_of_an_address_is_not_compared_with_the_certificate(tls, certificate):
    server = Server(certificate, nothing)
    tls.stream(server.connect(), Patient(), "fe80::1%eth0", soon()).close()
    server.end()


def test_a_server_of_another_name_is_refused(tls, certificate):
    server = Server(certificate, nothing)
    with pytest.raises(ssl.SSLError) as failure:
        tls.stream(server.connect(), Patient(), "127.0.0.2", soon())
    assert server.client.fileno() == -1
    meaning = tls.explain(failure.value, "127.0.0.2")
    assert isinstance(meaning, EndpointRefused) and "is not for 127.0.0.2" in str(meaning)
    assert tls.explain(OSError("x"), "h").args == ("x",)


def test_invalid_server_name_leaves_no_socket_open(tls):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        with pytest.raises((ValueError, OSError)):
            tls.stream(ours, Patient(), "a..b", soon())
        assert ours.fileno() == -1 and theirs.recv(9) == b""


def test_handshake_that_never_ends_times_out_with_its_reason(tls):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        with pytest.raises(TimeoutError, match=r"no end of the TLS handshake in \d+\.\d s") as failure:
            tls.stream(ours, Patient(), "127.0.0.1", soon(0.1))
        theirs.settimeout(0)
        while theirs.recv(9999):  # an empty read instead of BlockingIOError: closed
            pass
        assert failure.value


def test_a_connection_closed_in_the_handshake_may_need_http(tls):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.close()
    with pytest.raises(OSError, match="it may need protocol = http") as failure:
        tls.stream(ours, Patient(), "127.0.0.1", soon())
    assert not isinstance(failure.value, ConnectionError) and ours.fileno() == -1


@pytest.mark.parametrize("in_order", [True, False])
def test_stream_ends_the_same_with_or_without_a_tls_close(tls, certificate, in_order):
    def end(secured):
        if in_order:
            with suppress(OSError):
                secured.unwrap()

    server = Server(certificate, end)
    stream = tls.stream(server.connect(), Patient(), "127.0.0.1", soon())
    try:
        assert stream.receive() == b""
    except ConnectionResetError as error:
        assert str(error) == "the connection was closed"
    stream.close()


def test_server_that_sends_nothing_times_out(tls, certificate):
    server = Server(certificate, nothing)
    stream = tls.stream(server.connect(), Patient(), "127.0.0.1", soon())
    stream.deadline = soon(0.1)
    with pytest.raises(TimeoutError):
        stream.receive()
    stream.close()
    server.end()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_missing_certificate_is_reported_if_the_server_requires_one(tls, pki, certificate, version):
    server = Server(certificate, nothing, require=pki.ca)
    server.context.maximum_version = version
    with pytest.raises(ssl.SSLError) as failure:
        stream = tls.stream(server.connect(), Patient(), "127.0.0.1", soon())
        server.end()
        for _ in range(9):
            stream.send(b"x")
        stream.receive()
    assert "set cert" in str(tls.explain(failure.value, "h"))


def test_our_certificate_is_sent_to_a_server_that_requests_one(pki, certificate):
    tls = Tls(SimpleNamespace(ca_cert=pki.ca, cert=(certificate.cert, certificate.key)), Log())
    server = Server(certificate, echo, require=pki.ca)
    stream = tls.stream(server.connect(), Patient(), "127.0.0.1", soon())
    stream.send(b"x")
    assert stream.receive() == b"x"
    stream.close()


# Servers that speak gRPC only


def closes(secured):
    """Close the connection at once."""


def settings(secured):
    secured.sendall(SETTINGS)
    secured.recv(1)


def bad_request(secured):
    secured.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    secured.recv(1)


@pytest.mark.parametrize(
    "first, second, only",
    [(closes, settings, True), (closes, closes, False), (closes, bad_request, False), (bad_request, None, False)],
)
def test_a_server_that_ends_every_connection_but_http2_speaks_grpc_only(tls, certificate, first, second, only):
    servers = [Server(certificate, action) for action in (first, second) if action]
    waiting = list(servers)
    found = None
    with suppress(ConnectionError):
        found = tls.grpc_only(lambda: waiting.pop(0).connect(), Patient(), "127.0.0.1", soon())
    assert bool(found) is only and not waiting
    assert [server.client.fileno() for server in servers] == [-1] * len(servers)
    # The client offers h2 on the second connection only.
    assert [server.alpn for server in servers] == [None, "h2"][: len(servers)]


def test_probe_of_a_server_that_waits_for_a_request_times_out(tls, certificate):
    server = Server(certificate, nothing)
    with pytest.raises(TimeoutError):
        tls.grpc_only(server.connect, Patient(), "127.0.0.1", soon(0.2))
    assert server.client.fileno() == -1


# Files of the client certificate


def refusal(*files):
    with pytest.raises(Refused) as failure:
        context(SimpleNamespace(ca_cert=None, cert=files))
    return str(failure.value)


def test_a_key_may_be_in_the_certificates_file(tmp_path, certificate):
    both = tmp_path / "both.pem"
    both.write_text(open(certificate.cert).read() + open(certificate.key).read())
    context(SimpleNamespace(ca_cert=None, cert=(str(both),)))
    context(SimpleNamespace(ca_cert=None, cert=(certificate.cert, certificate.key)))


def test_error_in_a_tls_file_is_reported_with_the_file_name(tmp_path, pki, certificate):
    other, none = pki.issue("other"), tmp_path / "none.pem"
    none.write_text("x")
    encrypted = tmp_path / "encrypted.key"
    command = ["openssl", "ec", "-aes128", "-passout", "pass:x", "-in", certificate.key, "-out", str(encrypted)]
    subprocess.run(command, check=True, capture_output=True)
    cert = certificate.cert
    assert refusal(str(none), certificate.key) == f"cert: {none} holds no certificate in PEM form"
    assert refusal(cert, str(none)) == f"cert: {none} holds no private key in PEM form"
    assert refusal(cert).endswith(f"no private key in PEM form: name its file, too: cert = {cert}, KEYFILE")
    assert refusal(cert, other.key) == f"cert: the key in {other.key} does not belong to the certificate in {cert}"
    assert refusal(cert, str(encrypted)) == (
        f"cert: the key in {encrypted} is encrypted: store it without a passphrase"
    )
    assert refusal(cert, "/missing") == "cert: /missing: No such file or directory: name a file that can be read"


def test_stream_starts_with_the_given_deadline(tls, certificate):
    server = Server(certificate, nothing)
    until = soon()
    stream = TlsStream(server.connect(), Patient(), tls._context, "127.0.0.1", until)
    assert stream.deadline == until
    stream.close()
