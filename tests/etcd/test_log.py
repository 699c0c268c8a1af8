# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the log at each verbosity: a lock is taken, held for a while and released."""

from __future__ import annotations

import re
import time

import pytest

from tests.support.helper import Helper
from tests.support.machine import wait_until
from tests.support.proxy import Proxy

pytestmark = pytest.mark.slow


@pytest.fixture
def story(helper_conf):
    """Return `run(*args)`, which returns the log lines of the taking, of three steady refreshes, and of the end."""

    def run(*args):
        with Helper(helper_conf(refresh=0.5), *args) as helper:
            assert helper.status() == "0"
            time.sleep(0.3)
            taken = helper.stderr.splitlines()
            time.sleep(1.7)
            held = helper.stderr.splitlines()[len(taken) :]
            helper.terminate()
            helper.wait_exit()
            return taken, held, helper.stderr.splitlines()[len(taken) + len(held) :]

    return run


def test_log_is_empty_without_v(story):
    assert story() == ([], [], [])


def test_v_logs_taking_and_release_with_lock_endpoint_and_seconds(story, etcd, lock_name):
    (taken,), held, (released,) = story("-v")
    assert held == []
    assert re.search(rf"holding /_locks/_ctdb/{lock_name}/ .* at {etcd.endpoints[0]} .*taken in \d+\.\d+ s", taken)
    assert re.search(rf"released /_locks/_ctdb/{lock_name}/ .* at {etcd.endpoints[0]} after 2 s: SIGTERM", released)


def test_vv_logs_each_request_with_lock_endpoint_and_seconds(story, etcd, lock_name):
    _, held, _ = story("-vv")
    assert {line.split()[2] for line in held} == {"lease/keepalive:", "kv/range:"}
    form = rf"ctdb_etcd_lock: /_locks/_ctdb/{lock_name}/: \S+: 200 from {etcd.endpoints[0]} in \d+\.\d+ s"
    assert all(re.fullmatch(form, line) for line in held), held


@pytest.mark.v2
def test_vv_logs_each_request_of_the_v2_api_with_a_name(etcd_v2, helper_conf):
    with Helper(helper_conf(host=etcd_v2.endpoints[0], api="2", refresh=0.5), "-vv") as helper:
        assert helper.status() == "0"
        wait_until(lambda: "v2 renew: " in helper.stderr, "a renewal")
        helper.terminate()
        helper.wait_exit()
        seen = re.findall(rf": v2 (\w+): 20[01] from {etcd_v2.endpoints[0]} in \d+\.\d+ s", helper.stderr)
        assert list(dict.fromkeys(seen)) == ["append", "read", "renew", "delete"]
        assert len(seen) == helper.stderr.count(": v2 ") - helper.stderr.count("v2 read: 404")


def test_vvv_logs_the_wire(story):
    _, held, _ = story("-vvv")
    assert any("> POST /v3/lease/keepalive" in line for line in held) and any("< 200 {" in line for line in held)


@pytest.mark.parametrize("args", [[], ["-vv"]])
def test_repeated_outages_are_logged_once_a_minute_below_vv(etcd, helper_conf, args):
    with Proxy(etcd.endpoints[0]) as proxy, Helper(helper_conf(host=proxy.endpoint, refresh=0.5), *args) as helper:
        assert helper.status() == "0"
        for _ in range(3):
            proxy.refuse()
            time.sleep(1)
            proxy.forward()
            time.sleep(1.5)
        assert helper.alive
        lines = helper.stderr.splitlines()
    silences = [line for line in lines if "no etcd endpoint answers" in line]
    ends = [line for line in lines if "etcd answers again" in line]
    assert (len(silences), len(ends)) == (1, 1) if not args else (len(silences) >= 3 and len(ends) == 3), lines
    assert args or len(lines) == 2


def test_long_outage_is_logged_at_its_start_and_at_the_loss(etcd, helper_conf, lock_name):
    with Proxy(etcd.endpoints[0]) as proxy, Helper(helper_conf(host=proxy.endpoint), "-v") as helper:
        assert helper.status() == "0"
        proxy.refuse()
        helper.wait_exit()
        # A line about the release follows, if the kernel timer leaves the time.
        _, first, last, *_ = helper.stderr.splitlines()
    assert f"/_locks/_ctdb/{lock_name}/: no etcd endpoint answers, still trying: {proxy.endpoint}: " in first
    assert re.search(
        rf"lost /_locks/_ctdb/{lock_name}/ .* after (8|9|10) s: it was not renewed in time: .*refused", last
    )


def test_refused_renewal_and_the_next_good_one_are_logged_once_each(etcd, helper_conf):
    with Proxy(etcd.endpoints[0]) as proxy, Helper(helper_conf(host=proxy.endpoint)) as helper:
        assert helper.status() == "0"
        proxy.answer_with(403, b'{"error": "etcdserver: permission denied", "code": 7}', matching=b"keepalive")
        wait_until(lambda: "is not renewed" in helper.stderr, "a refused renewal")
        time.sleep(1.5)
        proxy.forward()
        wait_until(lambda: "is renewed again" in helper.stderr, "a renewal")
        assert len(helper.stderr.splitlines()) == 2 and helper.alive, helper.describe()
