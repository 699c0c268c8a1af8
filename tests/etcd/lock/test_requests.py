# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of what the lock costs etcd in requests and writes. These figures depend on no clock."""

from __future__ import annotations

import time

from tests.bench import crowds
from tests.bench.figures import Figures
from tests.support.helper import Helper
from tests.support.proxy import Proxy


def test_contended_try_is_one_request_and_no_write(tmp_path):
    figures = Figures()
    crowds.measure_try(tmp_path, figures)
    assert figures.get(crowds.TRY, "requests", "number") == [1]
    assert figures.get(crowds.TRY, "writes", "number") == [0]


def test_holder_sends_only_a_keepalive_and_a_look_each_refresh(etcd, helper_conf):
    with Proxy(etcd.endpoints[0]) as proxy, Helper(helper_conf(host=proxy.endpoint, refresh=0.5)) as helper:
        assert helper.status() == "0"
        before = len(proxy.seen().requests)
        time.sleep(3.2)
        paths = [line.rpartition("/")[2] for _, line in proxy.seen().requests[before:]]
        paths = paths[paths.index("keepalive") :]
        assert 2 <= len(paths) and paths == (["keepalive", "range"] * len(paths))[: len(paths)]
        # One for the lock, one for the query for v2, one for the watch on the key.
        assert proxy.seen().connections == 3
