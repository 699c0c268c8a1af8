# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of a client port of etcd 3.5 to 3.7 that speaks only gRPC because listen-client-http-urls moves HTTP away."""

from __future__ import annotations

import pytest

from tests.support.certs import Authority
from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.login import refusal
from tests.support.view import View

SAYS = "it speaks gRPC only: name the address of listen-client-http-urls"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"))


KINDS = [f"{branch} {protocol}" for branch in ("3.5", "3.6", "3.7") for protocol in ("http", "https")]


@pytest.fixture(scope="module", params=KINDS)
def split(request, built_etcd, pki):
    """One member whose client port speaks only gRPC. Its HTTP port serves v2 if the release can."""
    branch, protocol = request.param.split()
    args = ["--enable-v2=true"] if branch == "3.5" else []
    tls = pki.issue("server") if protocol == "https" else None
    with Etcd(1, args, tls=tls, program=built_etcd(branch), split_http=True) as etcd:
        yield etcd


@pytest.fixture
def conf(split, helper_conf):
    """Return `write(*hosts, **keys)`, which writes a file with these hosts: "grpc", "http", or others."""
    member = split.members[0]
    tls = {"protocol": "https", "ca_cert": split.tls.ca} if split.tls else {}

    def write(*hosts, **keys):
        ports = {"grpc": member.endpoint, "http": member.http_endpoint}
        return helper_conf(host=[ports.get(host, host) for host in hosts], **tls, **keys)

    return write


@pytest.mark.parametrize("api", ["auto", "3", "2"])
def test_grpc_only_endpoint_alone_is_refused_at_once_with_advice(split, conf, api):
    assert refusal(conf("grpc", api=api)).endswith(f"{split.members[0].endpoint}: {SAYS}")


@pytest.mark.parametrize("api", ["auto", "3", "2"])
@pytest.mark.parametrize("hosts", [["grpc", "http"], ["http", "grpc"]])
def test_grpc_only_endpoint_beside_a_good_one_does_no_harm(split, conf, hosts, api):
    if api == "2" and "--enable-v2=true" not in split.extra_args:
        pytest.skip("this release has no v2 API")
    with Helper(conf(*hosts, api=api)) as helper:
        assert helper.status() == "0", helper.describe()
        with Helper(conf(*hosts, api=api)) as contender:
            assert contender.status() == "1", contender.describe()
        helper.terminate()
        helper.wait_exit()
        assert helper.stderr == ""


def test_grpc_only_endpoint_beside_a_dead_one_is_named_and_asked_once(split, conf):
    with Helper(conf("grpc", "127.0.0.1:1", acquire_timeout=2), "-vv") as helper:
        assert helper.status() == "2", helper.describe()
        helper.wait_exit()
        assert f"{split.members[0].endpoint}: {SAYS}; 127.0.0.1:1: Connection refused" in helper.stderr
        assert helper.stderr.count(f"kv/range: no answer from {split.members[0].endpoint}") <= 1


def test_reports_name_a_grpc_only_endpoint(conf):
    for hosts, codes in [["grpc"], (3, 1)], [["grpc", "http"], (1, 0)]:
        status, check = (View(conf(*hosts), command, "--json") for command in ("--status", "--check"))
        assert (status.code, check.code) == codes, status.text + check.text
        assert SAYS in status.json["endpoints"][0]["error"]
        assert any(SAYS in item["text"] for item in check.json["items"])
