# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of SRV records: which of their names are accepted as endpoints."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ctdb_etcd.client import srv

resolver = pytest.importorskip("dns.resolver", reason="python3-dnspython is not installed")


@pytest.fixture
def answer(monkeypatch):
    """Return a function that sets the SRV targets of the next lookup."""
    targets = []

    class Resolver:
        def resolve(self, name, kind, lifetime):
            if not targets:
                raise resolver.NXDOMAIN
            records = [SimpleNamespace(priority=at, weight=1, target=name, port=1) for at, name in enumerate(targets)]
            targets.clear()
            return records

    monkeypatch.setattr(resolver, "Resolver", Resolver)
    return targets.extend


def test_srv_target_that_is_no_host_name_is_no_endpoint(answer):
    answer(["a.test.", ".", "a..b.", ".x.", f"{'x' * 64}.test.", r"a\000b.", r"a\.b.", "b c.", "B-2_.test."])
    assert srv.look_up("cluster.test", "http") == [("a.test", 1), ("B-2_.test", 1)]


def test_srv_records_without_a_host_name_are_not_found(answer):
    answer([".", "a..b."])
    with pytest.raises(OSError, match="^there are no SRV records "):
        srv.look_up("cluster.test", "http")
