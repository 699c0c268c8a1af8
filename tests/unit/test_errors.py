# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the exceptions: the text of each is its line for CTDB's log."""

from __future__ import annotations

from ctdb_etcd.errors import Contended, GrpcOnly


def test_contention_has_the_value_in_the_key_of_the_holder():
    assert str(Contended('{"node": "n1"}')) == '{"node": "n1"}'


def test_endpoint_with_grpc_only_is_explained_with_what_to_do():
    assert str(GrpcOnly()) == "it speaks gRPC only: name the address of listen-client-http-urls"
