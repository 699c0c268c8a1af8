# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of https: the server is verified, or refused with the reason; our certificate is sent where etcd wants one."""

from __future__ import annotations

import subprocess

import pytest

from tests.support import kinds, release
from tests.support.certs import Authority
from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.machine import wait_until


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


def test_a_server_whose_certificate_is_not_valid_yet_is_waited_for(conf, pki):
    # After a start this machine's clock may not be set yet.
    with Etcd(1, release.v2_flags(), tls=pki.issue("future", future=True)) as etcd:
        with Helper(conf(etcd, acquire_timeout=3)) as helper:
            assert helper.status() == "2", helper.describe()
            assert "its certificate is not valid yet: set this machine's clock" in helper.stderr


def test_an_intermediate_authority_in_ca_cert_is_enough(conf, pki, tmp_path):
    middle = Authority(tmp_path, "middle", below=pki)
    with Etcd(1, release.v2_flags(), tls=middle.issue("below")) as etcd:
        with Helper(conf(etcd, ca_cert=middle.ca)) as helper:
            assert helper.status() == "0", helper.describe()
        other = Authority(tmp_path, "stranger", below=Authority(tmp_path, "root"))
        assert f"signed by none of the authorities in {other.ca}" in refusal(conf(etcd, ca_cert=other.ca))


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
        keys = {"host": cluster.endpoints[0], "protocol": protocol, "api": api, "acquire_timeout": 6}
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
