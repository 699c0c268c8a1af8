# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of what a holder notices before its next refresh, by the watch on its key or the end of its idle connection."""

from __future__ import annotations

import shutil
import time

import pytest

from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.machine import wait_until
from tests.support.proxy import Proxy

# Seconds. So long that a refresh is never what notices a change.
REFRESH = 20
SLOW = {"lock_ttl": 60, "refresh": REFRESH}


def watching(helper):
    wait_until(lambda: "/v3/watch" in helper.stderr, "the watch")
    time.sleep(0.2)


@pytest.mark.parametrize("loss", ["deleted", "revoked"])
def test_lost_key_ends_the_holder_long_before_its_refresh(etcd, helper_conf, keys, loss):
    with Helper(helper_conf(**SLOW), "-vvv") as helper:
        assert helper.status() == "0"
        watching(helper)
        (key,) = keys()
        if loss == "deleted":
            etcd.delete(key["key"])
        else:
            etcd.revoke(key["lease"])
        lost = time.monotonic()
        # The benchmark measures the goal, 0.1 s.
        assert helper.wait_exit() - lost < REFRESH / 2
        assert "lost" in helper.stderr


def test_end_of_the_idle_connection_renews_the_lock_at_once(etcd, helper_conf, keys):
    with Proxy(etcd.endpoints[0]) as proxy:
        # The end of a watch would do the same.
        proxy.hold_next_request(b"/v3/watch", every=True)
        with Helper(helper_conf(host=proxy.endpoint, api="3", **SLOW), "-vvv") as helper:
            assert helper.status() == "0"
            wait_until(lambda: "watch: none at" in helper.stderr, "no watch")
            before = proxy.seen().count("lease/keepalive")
            proxy.reset()
            wait_until(lambda: proxy.seen().count("lease/keepalive") > before, "a renewal", timeout=REFRESH / 2)
            assert helper.alive and keys()


def test_etcd_restored_from_a_backup_ends_the_holder_at_once(helper_conf):
    with Etcd(1) as etcd:
        (member,) = etcd.members
        member.kill()
        backup = member.data.with_suffix(".backup")
        shutil.copytree(member.data, backup)
        member.start()
        etcd.wait_healthy()
        with Helper(helper_conf(host=etcd.endpoints, api="3", **SLOW), "-vvv") as helper:
            assert helper.status() == "0"
            watching(helper)
            member.kill()
            shutil.rmtree(member.data)
            backup.rename(member.data)
            member.start()
            etcd.wait_healthy()
            # Another node can take the lock now.
            free = time.monotonic()
            assert helper.wait_exit() - free < REFRESH / 2
            assert "lost" in helper.stderr and "its lease is gone" in helper.stderr


@pytest.mark.slow
def test_watch_opened_again_after_a_compaction_notices_the_loss(etcd, helper_conf, keys):
    with Proxy(etcd.endpoints[0]) as proxy:
        conf = helper_conf(host=proxy.endpoint, api="3", lock_ttl=40, refresh=10)
        with Helper(conf, "-vvv") as helper:
            assert helper.status() == "0"
            watching(helper)
            for value in "1", "2":
                etcd.etcdctl("put", "x", value)
            etcd.etcdctl("compact", str(etcd.revision()))
            proxy.reset()
            # Long before the next refresh.
            wait_until(lambda: helper.stderr.count("POST /v3/watch") == 2, "another watch", timeout=5)
            time.sleep(0.2)
            etcd.delete(keys()[0]["key"])
            lost = time.monotonic()
            assert helper.wait_exit() - lost < 5
            assert "lost" in helper.stderr


@pytest.mark.v2
def test_end_of_the_connection_of_v2_renews_the_lock_at_once(etcd_v2, helper_conf):
    with Proxy(etcd_v2.endpoints[0]) as proxy:
        with Helper(helper_conf(host=proxy.endpoint, api="2", **SLOW), "-vv") as helper:
            assert helper.status() == "0"
            wait_until(lambda: "holding" in helper.stderr, "the line about the lock")
            assert "v2 renew" not in helper.stderr
            proxy.reset()
            wait_until(lambda: "v2 renew: 200" in helper.stderr, "a renewal", timeout=REFRESH / 2)
            assert helper.alive


def test_watch_that_ends_at_once_does_not_affect_the_holder(etcd, helper_conf, keys):
    with Proxy(etcd.endpoints[0]) as proxy:
        proxy.answer_with(200, b'{"result":{"created":true}}', matching=b"/v3/watch")
        with Helper(helper_conf(host=proxy.endpoint, api="3", lock_ttl=9, refresh=1)) as helper:
            assert helper.status() == "0"
            time.sleep(6)
            # At most one early renewal for each regular one.
            assert 4 <= proxy.seen().count("lease/keepalive") <= 14
            assert helper.alive and keys()


@pytest.mark.parametrize("body", [b"[]", b'{"result":1}', b'{"result":{"created":1e400}}', b"<html>", b""])
def test_watch_that_makes_no_sense_is_ignored(etcd, helper_conf, keys, body):
    with Proxy(etcd.endpoints[0]) as proxy:
        proxy.answer_with(200, body, matching=b"/v3/watch")
        with Helper(helper_conf(host=proxy.endpoint, api="3", lock_ttl=5, refresh=1)) as helper:
            assert helper.status() == "0"
            wait_until(lambda: proxy.seen().count("lease/keepalive") > 1, "two renewals")
            assert helper.alive and keys() and helper.stderr == ""


def test_watch_that_never_answers_does_not_keep_the_holder_from_renewing(etcd, helper_conf, keys):
    with Proxy(etcd.endpoints[0]) as proxy:
        proxy.hold_next_request(b"/v3/watch", every=True)
        with Helper(helper_conf(host=proxy.endpoint, api="3", lock_ttl=5, refresh=1)) as helper:
            assert helper.status() == "0"
            time.sleep(8)
            assert helper.alive and keys()


def test_sigterm_during_the_rest_releases_at_once(helper_conf, keys):
    with Helper(helper_conf(**SLOW), "-vvv") as helper:
        assert helper.status() == "0"
        watching(helper)
        helper.terminate()
        asked = time.monotonic()
        assert helper.wait_exit() - asked < REFRESH / 2 and not keys()
