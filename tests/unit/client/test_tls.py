# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of trust: the authorities of ca_cert or those of the system, never both, and always the server's name."""

from __future__ import annotations

import ssl
from types import SimpleNamespace

import pytest

from ctdb_etcd.client.tls import context, explain
from ctdb_etcd.errors import EndpointRefused, Refused

# Two certificate authorities, `one` and `two`, made with openssl req -x509. Their private keys were not kept.
ONE = """\
-----BEGIN CERTIFICATE-----
MIIBdDCCARmgAwIBAgIUGUJFzqgmegChvap0QwXBISDtGkUwCgYIKoZIzj0EAwIw
DjEMMAoGA1UEAwwDb25lMCAXDTI2MTEyNDE1NTAwN1oYDzIxMjYxMDMxMTU1MDA3
WjAOMQwwCgYDVQQDDANvbmUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQusiE/
i6YWIdsjkXHQvLiYbXoD0d9s3mXrjlzH5YykOYN5qKIIvh5pJ9jD/HUCSZnJ5fSg
evXWHVjFFYafesvjo1MwUTAdBgNVHQ4EFgQUiFQ3JO9s0Jk5eQtD5ODKd/Srvt0w
HwYDVR0jBBgwFoAUiFQ3JO9s0Jk5eQtD5ODKd/Srvt0wDwYDVR0TAQH/BAUwAwEB
/zAKBggqhkjOPQQDAgNJADBGAiEA5WRtUMR9VEFP5RNGN3Yhrr9lYsH/FMjVnqSY
1zn8K8kCIQCd1lo1uYw3NL/GE/pVRqzGh68QDjwQigS4Olpg/rucOg==
-----END CERTIFICATE-----
"""
TWO = """\
-----BEGIN CERTIFICATE-----
MIIBcjCCARigAwIBAgITX8KEv8eBbj+k7mdOuFAt35kMPDAKBggqhkjOPQQDAjAO
MQwwCgYDVQQDDAN0d28wIBcNMjYxMTI0MTU1MDA3WhgPMjEyNjEwMzExNTUwMDda
MA4xDDAKBgNVBAMMA3R3bzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJHCrW5U
YSXZhJcwcqWRPfFwPncNZjJCNV5VccAEcX6kRwl7tJ7bCIy1oI4qb6tf1+XrFqEJ
pIPxiG+3ZpffNbOjUzBRMB0GA1UdDgQWBBQPdD5uGZbQRuuZbGogLdfhzt1KzDAf
BgNVHSMEGDAWgBQPdD5uGZbQRuuZbGogLdfhzt1KzDAPBgNVHRMBAf8EBTADAQH/
MAoGCCqGSM49BAMCA0gAMEUCIQDrYLjiOw1P5QVZqieHM83UXrFyfcTlsLjqkgqM
AFQj9wIgG4FGj0LSZio12XcxoybbZ38qV2UYTRlawb29vd/mC1g=
-----END CERTIFICATE-----
"""


@pytest.fixture(autouse=True)
def system(monkeypatch, tmp_path):
    """Set up a system certificate store that holds only `one`."""
    (tmp_path / "one.pem").write_text(ONE)
    (tmp_path / "two.pem").write_text(TWO)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "one.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))


def made(ca_cert=None, cert=None):
    return context(SimpleNamespace(ca_cert=ca_cert and str(ca_cert), cert=cert))


def trusted(made):
    return sorted(dict(part for parts in ca["subject"] for part in parts)["commonName"] for ca in made.get_ca_certs())


def test_system_store_is_trusted_without_ca_cert():
    assert trusted(made()) == ["one"]


def test_ca_cert_is_trusted_instead_of_the_system_store(tmp_path):
    assert trusted(made(tmp_path / "two.pem")) == ["two"]


def test_all_authorities_of_ca_cert_are_trusted(tmp_path):
    (tmp_path / "both.pem").write_text(ONE + TWO)
    assert trusted(made(tmp_path / "both.pem")) == ["one", "two"]


@pytest.mark.parametrize("name", [None, "two.pem"])
def test_the_server_and_its_name_are_always_verified(tmp_path, name):
    context = made(name and tmp_path / name)
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname is True


def test_an_intermediate_authority_is_enough(tmp_path):
    assert made(tmp_path / "two.pem").verify_flags ^ made().verify_flags == 0x80000
    assert not made().verify_flags & 0x80000


def test_unusable_ca_cert_is_refused_with_its_name(tmp_path):
    (tmp_path / "x").write_text("x")
    for path, says in (tmp_path / "x", "holds no certificate"), (tmp_path / "y", "No such file"):
        with pytest.raises(Refused, match=f"ca_cert: {path}:? {says}"):
            made(path)


def failure(code):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "why"
    return error


def alert(reason):
    error = ssl.SSLError(1, f"[SSL: {reason}] in other words (_ssl.c:1)")
    error.reason = reason
    return error


CASES = [
    (failure(10), None, None, EndpointRefused, "has expired"),
    (failure(9), None, None, OSError, "is not valid yet"),
    (failure(62), None, None, EndpointRefused, "is not for etcd1"),
    (failure(64), None, None, EndpointRefused, "is not for etcd1"),
    (failure(20), None, None, EndpointRefused, "none of the authorities in the system's store"),
    (failure(18), "/ca", None, EndpointRefused, "none of the authorities in /ca"),
    (alert("WRONG_VERSION_NUMBER"), None, None, EndpointRefused, "set protocol = http"),
    (alert("HTTP_REQUEST"), None, None, EndpointRefused, "set protocol = http"),
    (alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), None, None, EndpointRefused, "certificate required): it may want"),
    (alert("TLSV1_ALERT_UNKNOWN_CA"), None, ("/c",), EndpointRefused, "it does not accept the certificate in /c"),
    (alert("TLSV1_ALERT_INTERNAL_ERROR"), None, None, OSError, "unable to use its own certificate or key"),
    (alert("SOMETHING"), None, None, OSError, "TLS: SOMETHING"),
    (ssl.SSLEOFError(8, "EOF"), None, None, OSError, "the connection was closed"),
    (ssl.SSLZeroReturnError(6, "closed"), None, None, OSError, "the connection was closed"),
]


@pytest.mark.parametrize("error, ca_cert, cert, kind, says", CASES)
def test_tls_error_is_a_fault_of_the_endpoint_unless_waiting_may_help(error, ca_cert, cert, kind, says):
    meaning = explain(error, "etcd1", SimpleNamespace(ca_cert=ca_cert, cert=cert))
    assert type(meaning) is kind and says in str(meaning)
