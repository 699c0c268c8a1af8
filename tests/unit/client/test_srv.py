# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of SRV records: which are asked for, which of their names are endpoints, in which order, and what failed."""

from __future__ import annotations

import random
import sys
from types import SimpleNamespace

import pytest

from ctdb_etcd.client import srv
from ctdb_etcd.errors import Refused

resolver = pytest.importorskip("dns.resolver", reason="python3-dnspython is not installed")
import dns.exception  # noqa: E402


def record(target, priority=0, weight=1, port=1):
    return SimpleNamespace(priority=priority, weight=weight, target=target, port=port)


@pytest.fixture
def names(monkeypatch):
    """Yield a fake resolver: `asked` has the names, `answers` an exception or the records for each."""
    names = SimpleNamespace(asked=[], answers={})

    class Resolver:
        def resolve(self, name, kind, lifetime):
            assert kind == "SRV" and lifetime
            names.asked.append(name)
            answer = names.answers.get(name, resolver.NXDOMAIN())
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr(resolver, "Resolver", Resolver)
    return names


def test_srv_target_that_is_no_host_name_is_no_endpoint(names):
    targets = ["a.test.", ".", "a..b.", ".x.", f"{'x' * 64}.test.", r"a\000b.", r"a\.b.", "b c.", "B-2_.test."]
    names.answers["_etcd-client._tcp.d."] = [record(target, at) for at, target in enumerate(targets)]
    assert srv.look_up("d", "http") == [("a.test", 1), ("B-2_.test", 1)]
    assert names.asked == ["_etcd-client._tcp.d."]


@pytest.mark.parametrize("protocol, service", [("http", "_etcd-client"), ("https", "_etcd-client-ssl")])
@pytest.mark.parametrize("first", [resolver.NXDOMAIN(), resolver.NoAnswer(), [record(".")]])
def test_record_of_python_etcd_is_used_where_the_usual_one_is_missing(names, first, protocol, service):
    names.answers = {f"{service}._tcp.d.": first, "_etcd._tcp.d.": [record("m.test.", port=7)]}
    assert srv.look_up("d", protocol) == [("m.test", 7)]
    assert names.asked == [f"{service}._tcp.d.", "_etcd._tcp.d."]


def test_srv_records_are_ordered_by_priority_then_by_weight_and_chance(names, monkeypatch):
    records = [("last", 2, 9), ("late", 1, 1), ("early", 1, 1), ("rare", 1, 0), ("often", 1, 99)]
    drawn = iter([0.9, 0.2, 0.5, 0.99, 0.3])
    names.answers["_etcd-client._tcp.d."] = [record(*fields) for fields in records]
    monkeypatch.setattr(random, "random", lambda: next(drawn))
    assert [host for host, _ in srv.look_up("d", "http")] == ["often", "early", "rare", "late", "last"]


def test_srv_records_without_a_host_name_are_not_found(names):
    names.answers["_etcd-client._tcp.d."] = [record("."), record("a..b.")]
    with pytest.raises(OSError, match="^there are no SRV records _etcd-client._tcp.d or _etcd._tcp.d$"):
        srv.look_up("d", "http")


@pytest.mark.parametrize(
    "error, text",
    [
        (resolver.NoNameservers(), "the name servers refuse to answer"),
        (dns.exception.Timeout(), "the name servers give no answer"),
        (dns.exception.FormError(), "the name servers cannot be asked: FormError"),
    ],
)
def test_failure_of_the_name_servers_is_named(names, error, text):
    names.answers["_etcd-client._tcp.d."] = error
    with pytest.raises(OSError, match=f"^{text}$"):
        srv.look_up("d", "http")


def test_resolv_conf_that_is_not_utf_8_is_a_failure_and_no_bug(names, monkeypatch):
    def fails():
        b"\xe4".decode()

    monkeypatch.setattr(resolver, "Resolver", fails)
    with pytest.raises(OSError, match="^the name servers cannot be asked: UnicodeDecodeError$"):
        srv.look_up("d", "http")


def test_missing_dnspython_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dns.resolver", None)
    with pytest.raises(Refused, match="srv_domain needs dnspython, which .*: install python3-dnspython"):
        srv.look_up("d", "http")
