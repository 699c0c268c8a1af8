# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of a request to one endpoint: no other one is asked instead, and an impatient caller soon gives up."""

from __future__ import annotations

import pytest

from ctdb_etcd.client.endpoints import Endpoints
from tests.support.conf import parse
from tests.support.fake_network import FINE, A, B, Cluster, always, answer


@pytest.fixture
def cluster(monkeypatch):
    return Cluster(monkeypatch)


def endpoints_of(cluster, count):
    return Endpoints(parse(f"host = {', '.join([A, B][:count])},"), cluster.waiter, cluster.log)


def test_separate_connection_is_to_its_endpoint_and_is_closed(cluster):
    endpoints = endpoints_of(cluster, 2)
    status, body = endpoints.get(B, "/x", cluster.clock.now + 1)
    assert status == 200 and cluster.b.paths == ["/x"] and not cluster.network.open()


@pytest.mark.parametrize("how, error", [("refuse", ConnectionRefusedError), ("fall_silent", TimeoutError)])
def test_request_to_one_endpoint_does_not_fall_back_to_another(cluster, how, error):
    endpoints = endpoints_of(cluster, 2)
    getattr(cluster.a, how)()
    until = cluster.clock.now + 1
    with pytest.raises(error):
        endpoints.get(A, "/x", until)
    assert cluster.clock.now <= until and not cluster.network.open() and not cluster.b.requests


@pytest.mark.parametrize("impatient, seconds", [(True, 0.25), (False, 1)])
def test_dead_endpoint_delays_an_impatient_caller_only_briefly(cluster, impatient, seconds):
    endpoints = endpoints_of(cluster, 2)
    cluster.a.never_connect()
    began = cluster.clock.now
    with pytest.raises(TimeoutError, match="no connection in time"):
        (endpoints.impatient() if impatient else endpoints).get(A, "/x", began + 1)
    assert cluster.clock.now == began + seconds and not cluster.network.open()


def test_impatient_caller_still_waits_for_an_answer(cluster):
    endpoints = endpoints_of(cluster, 1)
    cluster.a.serve = always((0.75, answer(200, FINE)))
    assert endpoints.impatient().get(A, "/x", cluster.clock.now + 1)[0] == 200
