# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of TLS on a bad network, and of servers that are slow, change or answer strangely."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import contextmanager

import pytest

from tests.support.etcd import Etcd, Tls
from tests.support.helper import Helper
from tests.support.machine import wait_until
from tests.support.proxy import Proxy
from tests.support.side_by_side import side_by_side

from . import test_tls
from .test_tls import refusal


pki, server = test_tls.pki, test_tls.server


@pytest.mark.slow
@pytest.mark.v2  # for auto, as in kinds.APIS_OF_TWO
def test_handshake_that_never_ends_delays_no_longer_than_its_timeout(server, helper_conf, pki):
    with Proxy(server.endpoints[0]) as proxy:
        keys = {"protocol": "https", "ca_cert": pki.ca}
        proxy.freeze()
        with Helper(helper_conf(host=[proxy.endpoint, server.endpoints[0]], **keys)) as helper:
            assert helper.status() == "0"
            assert 1.5 < helper.answered_after < 9
        before = proxy.seen().connections
        with Helper(helper_conf(host=proxy.endpoint, read_timeout=20, **keys)) as helper:
            wait_until(lambda: proxy.seen().connections > before, "a handshake")
            asked = time.monotonic()
            helper.terminate()
            assert helper.wait_exit() - asked < 5
        with Helper(helper_conf(host=proxy.endpoint, acquire_timeout=5, read_timeout=20, **keys)) as helper:
            assert helper.status() == "2"
            helper.wait_exit()
            assert helper.answered_after < 15  # not a whole read_timeout


@pytest.mark.slow
def test_holder_through_tls_outlasts_3_s_of_bad_network_and_ends_in_time(server, helper_conf, lock_name, pki):
    def scenario(how):
        with Proxy(server.endpoints[0]) as proxy:
            keys = {"protocol": "https", "ca_cert": pki.ca, "api": "3", "netbios_name": f"{lock_name}.{how}"}
            with Helper(helper_conf(host=proxy.endpoint, **keys)) as helper:
                assert helper.status() == "0"
                for _ in range(6):
                    getattr(proxy, how)()
                    time.sleep(0.5)
                proxy.forward()
                time.sleep(9)
                assert helper.alive, helper.describe()
                proxy.freeze()
                frozen = time.monotonic()
                assert helper.wait_eof() - frozen < 8.5
                helper.wait_exit()
                assert "it was not renewed in time" in helper.stderr

    side_by_side(scenario, [("freeze",), ("reset",), ("truncate_answers",)])


@pytest.mark.slow
def test_server_with_a_new_bad_certificate_is_lost_within_the_ttl(helper_conf, pki, tmp_path):
    good, bad = pki.issue("live"), pki.issue("stale", expired=True)
    tls = Tls(str(tmp_path / "server.pem"), str(tmp_path / "server.key"), pki.ca)

    def install(which):
        for source, target in ((which.cert, tls.cert), (which.key, tls.key)):
            with open(source, "rb") as file, open(target, "wb") as copy:
                copy.write(file.read())

    install(good)
    with Etcd(1, tls=tls) as etcd:
        with Helper(helper_conf(host=etcd.endpoints[0], protocol="https", ca_cert=pki.ca, api="3")) as helper:
            assert helper.status() == "0"
            install(bad)
            etcd.members[0].restart()
            gone = time.monotonic()
            assert helper.wait_eof(12) - gone < 9
            helper.wait_exit()
            assert "its certificate has expired" in helper.stderr and "lost " in helper.stderr


@contextmanager
def answering(pki, answer):
    """Run an https server that answers everything with these bytes; yield its host and port."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls = pki.issue("answering")
    made.load_cert_chain(tls.cert, tls.key)

    def serve(listener):
        while True:
            try:
                connection, _ = listener.accept()
                with made.wrap_socket(connection, server_side=True) as secured:
                    while secured.recv(65536):
                        secured.sendall(answer)
            except OSError:
                if listener.fileno() < 0:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_large_tls_record_is_read_in_full(helper_conf, pki):
    """A record larger than one read is returned in full: nothing is left on the socket to wait for."""
    body = b'{"message":"etcdserver: permission denied","filler":"' + b"x" * 16000 + b'"}'
    with answering(pki, b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % len(body) + body) as endpoint:
        keys = {"host": endpoint, "protocol": "https", "ca_cert": pki.ca, "api": "3"}
        assert "permission denied" in refusal(helper_conf(**keys))


def test_redirect_from_https_to_http_is_not_followed(helper_conf, pki):
    with socket.create_server(("127.0.0.1", 0)) as plain:
        place = b"http://127.0.0.1:%d/v2/keys/x" % plain.getsockname()[1]
        redirect = b"HTTP/1.1 307 X\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % place
        with answering(pki, redirect) as endpoint:
            keys = {"host": endpoint, "protocol": "https", "ca_cert": pki.ca, "api": "2"}
            line = refusal(helper_conf(**keys))
        assert "it redirects from https to http, which is not followed: name in host" in line
        plain.setblocking(False)
        with pytest.raises(BlockingIOError):
            plain.accept()


@pytest.mark.parametrize("api", ["3", "2"])
def test_handshake_without_an_end_is_reported(helper_conf, pki, api):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        keys = {"host": f"127.0.0.1:{silent.getsockname()[1]}", "protocol": "https", "ca_cert": pki.ca, "api": api}
        with Helper(helper_conf(**keys, acquire_timeout=1)) as helper:
            assert helper.status() == "2"
            helper.wait_exit()
            assert "no end of the TLS handshake in 0." in helper.stderr, helper.describe()
