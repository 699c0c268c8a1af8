# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of https: the server is verified, or refused with the reason; our certificate is sent where etcd wants one."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest

from tests.support import kinds, release
from tests.support.certs import Authority
from tests.support.etcd import Etcd, Tls
from tests.support.helper import Helper
from tests.support.machine import wait_until
from tests.support.proxy import Proxy
from tests.support.side_by_side import side_by_side


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """A CA that signs the server's certificate and others."""
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def server(pki):
    """One etcd with https on 127.0.0.1 and both APIs."""
    with Etcd(1, release.v2_flags(), tls=pki.issue("server")) as etcd:
        yield etcd


@pytest.fixture(scope="module")
def strict(pki):
    """One etcd that requires a client certificate."""
    args = ["--client-cert-auth", "--trusted-ca-file", pki.ca, *release.v2_flags()]
    with Etcd(1, args, tls=pki.issue("strict")) as etcd:
        yield etcd


@pytest.fixture(params=kinds.APIS)
def conf(request, helper_conf, pki):
    """Return a function that writes a file for https in each API."""
    return lambda etcd, **keys: helper_conf(
        **{"host": etcd.endpoints[0], "protocol": "https", "ca_cert": pki.ca, "api": request.param, **keys}
    )


def refusal(conf, **options):
    """Return the only line that the helper logs when it answers `3`."""
    with Helper(conf, **options) as helper:
        assert helper.status() == "3", helper.describe()
        assert helper.answered_after < 10
        helper.wait_exit()
        assert len(helper.stderr.splitlines()) == 1, helper.describe()
        return helper.stderr.strip()


def test_server_verified_by_ca_cert_gives_an_exclusive_lock(server, conf):
    with Helper(conf(server)) as holder:
        assert holder.status() == "0"
        with Helper(conf(server)) as helper:
            assert helper.status() == "1"
            assert helper.stderr == ""
        holder.terminate()
        holder.wait_exit()
        assert holder.stderr == ""
    with Helper(conf(server)) as helper:
        assert helper.status() == "0"


def test_system_store_decides_without_ca_cert(server, conf, pki):
    # OpenSSL's own environment variable replaces the system's store with another file.
    with Helper(conf(server, ca_cert=None), env={"SSL_CERT_FILE": pki.ca}) as helper:
        assert helper.status() == "0"
    line = refusal(conf(server, ca_cert=None))
    assert "its certificate is signed by none of the authorities in the system's store" in line
    assert "set ca_cert" in line and server.endpoints[0] in line


def test_a_server_of_another_ca_is_refused(server, conf, tmp_path):
    other = Authority(tmp_path, "other")
    line = refusal(conf(server, ca_cert=other.ca))
    assert f"its certificate is signed by none of the authorities in {other.ca}" in line


def test_an_expired_server_is_refused(conf, pki):
    with Etcd(1, release.v2_flags(), tls=pki.issue("expired", expired=True)) as etcd:
        assert "its certificate has expired: renew it" in refusal(conf(etcd))


def test_a_server_with_another_name_is_refused(server, conf):
    port = server.endpoints[0].split(":")[1]
    line = refusal(conf(server, host=f"localhost:{port}"))
    assert "its certificate is not for localhost: name in host what it is for" in line


def test_server_is_refused_by_wrong_address_and_accepted_by_name(conf, pki):
    with Etcd(1, release.v2_flags(), tls=pki.issue("named", san="DNS:localhost")) as etcd:
        assert "its certificate is not for 127.0.0.1" in refusal(conf(etcd))
        with Helper(conf(etcd, host="localhost:" + etcd.endpoints[0].split(":")[1])) as helper:
            assert helper.status() == "0"


@pytest.mark.parametrize("conf", kinds.APIS_OF_TWO, indirect=True)
def test_good_endpoint_is_used_if_another_does_not_verify(server, conf, pki):
    with Etcd(1, tls=pki.issue("bad", expired=True)) as bad:
        with Helper(conf(server, host=[bad.endpoints[0], server.endpoints[0]])) as helper:
            assert helper.status() == "0"
            assert helper.stderr == ""


@pytest.mark.parametrize("api", kinds.APIS)
def test_protocol_mismatch_is_reported_with_the_protocol_to_set(server, etcd, helper_conf, api):
    # etcd 3.4 only closes the connection, as a port forwarder without a target does. That can pass, hence `2`.
    for cluster, protocol, right in ((server, "http", "https"), (etcd, "https", "http")):
        keys = {"host": cluster.endpoints[0], "protocol": protocol, "api": api, "acquire_timeout": 3}
        with Helper(helper_conf(**keys)) as helper:
            assert helper.status() == "2"
            helper.wait_exit()
            # Sometimes it resets the connection, which gives no hint.
            assert any(line.endswith(f"protocol = {right}") for line in helper.stderr.splitlines()), helper.describe()


@pytest.mark.parametrize("files", ["one", "two"])
def test_etcd_with_client_cert_auth_takes_our_certificate(strict, conf, pki, tmp_path, files):
    client = pki.issue("client", san="")
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(open(path, "rb").read() for path in (client.cert, client.key)))
    with Helper(conf(strict, cert=both if files == "one" else [client.cert, client.key])) as helper:
        assert helper.status() == "0"


def test_client_cert_auth_refuses_a_missing_or_foreign_certificate(strict, helper_conf, pki, tmp_path):
    keys = {"host": strict.endpoints[0], "protocol": "https", "ca_cert": pki.ca}
    # The alert comes after the handshake and races with the end of the connection.
    for _ in range(5):
        line = refusal(helper_conf(**keys))
        assert "it ended the TLS handshake" in line and "set cert" in line
    stranger = Authority(tmp_path, "other").issue("stranger", san="")
    for _ in range(5):
        line = refusal(helper_conf(cert=[stranger.cert, stranger.key], **keys))
        assert f"it does not accept the certificate in {stranger.cert}" in line and "trusted-ca-file" in line


@pytest.mark.v2
def test_v2_without_a_required_certificate_reports_the_likely_cause(strict, helper_conf, pki):
    # urllib3 does not wait for the alert, and often misses it.
    conf = helper_conf(host=strict.endpoints[0], protocol="https", ca_cert=pki.ca, api="2")
    with Helper(conf) as helper:
        wait_until(lambda: helper.stderr, "a line after the first round")
        assert "certificate" in helper.stderr and "cert" in helper.stderr


def test_each_unusable_tls_file_is_named_with_its_error(server, conf, pki, tmp_path):
    client, other = pki.issue("client", san=""), pki.issue("other", san="")
    encrypted, nothing = tmp_path / "encrypted.key", tmp_path / "nothing.pem"
    subprocess.run(
        ["openssl", "ec", "-aes128", "-passout", "pass:x", "-in", client.key, "-out", encrypted],
        check=True,
        capture_output=True,
    )
    nothing.write_text("nothing\n")
    for keys, says in [
        ({"ca_cert": "/missing"}, "ca_cert: /missing: No such file or directory"),
        ({"ca_cert": nothing}, f"ca_cert: {nothing} holds no certificate in PEM form"),
        ({"cert": "/missing"}, "cert: /missing: No such file or directory"),
        ({"cert": [client.cert, tmp_path]}, f"cert: {tmp_path}: Is a directory"),
        ({"cert": nothing}, f"cert: {nothing} holds no certificate in PEM form"),
        ({"cert": client.cert}, f"cert: {client.cert} holds no private key in PEM form: name its file, too"),
        ({"cert": [client.cert, nothing]}, f"cert: {nothing} holds no private key in PEM form"),
        (
            {"cert": [client.cert, other.key]},
            f"cert: the key in {other.key} does not belong to the certificate in {client.cert}",
        ),
        ({"cert": [client.cert, encrypted]}, f"cert: the key in {encrypted} is encrypted"),
    ]:
        assert says in refusal(conf(server, **keys))


@pytest.mark.slow
@pytest.mark.v2  # for auto, as in kinds.APIS_OF_TWO
def test_handshake_that_never_ends_delays_no_longer_than_its_timeout(server, helper_conf, pki):
    with Proxy(server.endpoints[0]) as proxy:
        keys = {"protocol": "https", "ca_cert": pki.ca}
        proxy.freeze()
        with Helper(helper_conf(host=[proxy.endpoint, server.endpoints[0]], **keys)) as helper:
            assert helper.status() == "0"
            assert 1.5 < helper.answered_after < 9
        with Helper(helper_conf(host=proxy.endpoint, **keys)) as helper:
            wait_until(lambda: helper.stderr, "a line after the first round")
            asked = time.monotonic()
            helper.terminate()
            assert helper.wait_exit() - asked < 10
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
