# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the lock on a healthy etcd: taking, holding, contention, release, loss."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.etcd import Etcd
from tests.support.helper import Helper, contend
from tests.support.proxy import Proxy

TTL, REFRESH = 9, 2


def directory(lock_name):
    return f"/_locks/_ctdb/{lock_name}/"


@pytest.mark.slow
def test_holder_prints_0_once_and_holds_for_longer_than_the_ttl(etcd, helper_conf, lock_name):
    with Helper(helper_conf()) as helper:
        assert helper.status() == "0"
        (first,) = etcd.keys(directory(lock_name))
        time.sleep(TTL + 2)
        assert helper.alive and helper.stdout == b"0" and helper.stderr == ""
        assert etcd.keys(directory(lock_name)) == [first]
        helper.terminate()
        helper.wait_eof()
        assert helper.stdout == b"0" and helper.stderr == ""


def test_key_is_where_etcdctl_lock_looks_and_names_its_holder(etcd, helper_conf, lock_name):
    with Helper(helper_conf()) as helper:
        assert helper.status() == "0"
        (key,) = etcd.keys("/_locks/_ctdb/" + lock_name)
        assert key["key"] == f"{directory(lock_name)}{key['lease']:x}"
        assert key["lease"] in etcd.leases()
        who = json.loads(key["value"])
        assert who["pid"] == helper.pid
        assert {"node", "pnn", "since", "version", "boot_id", "pid_namespace", "start_time"} < who.keys()


def test_directory_of_the_lock_is_that_of_the_file(etcd, helper_conf, lock_name):
    with Helper(helper_conf(locks_dir="a/b", lock_prefix="/elsewhere")) as helper:
        assert helper.status() == "0"
        assert len(etcd.keys(f"/elsewhere/a/b/{lock_name}/")) == 1


def test_sigterm_releases_the_lock_long_before_its_refresh(etcd, helper_conf, lock_name):
    for _ in range(5):
        with Helper(helper_conf(lock_ttl=60, refresh=20)) as helper:
            assert helper.status() == "0"
            (key,) = etcd.keys(directory(lock_name))
            helper.terminate()
            asked = time.monotonic()
            # The key goes before the process exits. Timing the exit leaves out the time that etcdctl takes.
            assert helper.wait_exit() - asked < 5
            assert not etcd.keys(directory(lock_name))
            assert key["lease"] not in etcd.leases()
            assert helper.stdout == b"0" and helper.stderr == "" and helper.returncode == 0


def test_contention_is_silent_and_writes_nothing_to_etcd(etcd, helper_conf, lock_name):
    etcd.revoke_all()
    with Helper(helper_conf()) as holder:
        assert holder.status() == "0"
        keys, revision, leases = etcd.keys(directory(lock_name)), etcd.revision(), etcd.leases()
        for _ in range(10):
            with Helper(helper_conf()) as helper:
                assert helper.status() == "1"
                helper.wait_exit()
                assert helper.stdout == b"1" and helper.stderr == "" and helper.returncode == 1
        assert (etcd.keys(directory(lock_name)), etcd.revision(), etcd.leases()) == (keys, revision, leases)
        holder.terminate()
        holder.wait_exit()
    with Helper(helper_conf()) as next_one:
        assert next_one.status() == "0"


def test_contention_is_logged_at_v_with_the_holder(etcd, helper_conf, lock_name):
    with Helper(helper_conf()) as holder:
        assert holder.status() == "0"
        with Helper(helper_conf(), "-v") as helper:
            assert helper.status() == "1"
            helper.wait_exit()
            assert "is held by node " in helper.stderr and f"pid {holder.pid}" in helper.stderr


@pytest.mark.slow
def test_one_of_16_helpers_started_at_once_holds_and_15_are_contended(etcd, helper_conf, lock_name):
    for _ in range(6):
        with contend(16, lambda _: helper_conf()) as helpers:
            answers = sorted(helper.stdout for helper in helpers)
            assert answers == [b"0"] + [b"1"] * 15, [helper.describe() for helper in helpers]
            (holder,) = (helper for helper in helpers if helper.stdout == b"0")
            assert len(etcd.keys(directory(lock_name))) == 1
            holder.terminate()
            holder.wait_exit()
        assert not etcd.keys(directory(lock_name))


@pytest.mark.slow
def test_one_of_16_helpers_holds_on_three_members(etcd3, helper_conf, lock_name):
    hosts = etcd3.endpoints
    for _ in range(3):
        rotated = lambda n: helper_conf(host=hosts[n % 3 :] + hosts[: n % 3])  # noqa: E731
        with contend(16, rotated) as helpers:
            assert sorted(helper.stdout for helper in helpers) == [b"0"] + [b"1"] * 15
            for helper in helpers:
                helper.terminate()
                helper.wait_exit()
        assert not etcd3.keys(directory(lock_name))


def test_etcdctl_lock_on_the_same_path_excludes_us_and_waits_for_us(etcd, helper_conf, lock_name):
    path = directory(lock_name).rstrip("/")
    with etcd.lock_process(path) as other:
        other.wait_acquired()
        with Helper(helper_conf(), "-v") as helper:
            assert helper.status() == "1"
            helper.wait_exit()
            assert "is held by somebody else" in helper.stderr
        other.release()
    with Helper(helper_conf()) as helper:
        assert helper.status() == "0"
        with etcd.lock_process(path) as other:
            time.sleep(1)
            assert not other.acquired
            # etcdctl's key waits in the queue. That must not cost the holder its lock.
            assert len(etcd.keys(directory(lock_name))) == 2
            time.sleep(REFRESH + 0.5)
            assert helper.alive and not other.acquired
            helper.terminate()
            other.wait_acquired()


@pytest.mark.parametrize("loss", ["key deleted", "lease revoked", "key written again"])
def test_lost_lock_is_noticed_at_the_next_refresh(etcd, helper_conf, lock_name, loss):
    # Without a watch, which would notice it at once.
    with Proxy(etcd.endpoints[0]) as proxy:
        proxy.hold_next_request(b"/v3/watch", every=True)
        with Helper(helper_conf(host=proxy.endpoint)) as helper:
            assert helper.status() == "0"
            (key,) = etcd.keys(directory(lock_name))
            if loss == "lease revoked":
                etcd.revoke(key["lease"])
            else:
                etcd.delete(key["key"])
            if loss == "key written again":
                etcd.put(key["key"], key["value"])
            gone = time.monotonic()
            assert helper.wait_eof() - gone < REFRESH + 3
            helper.wait_exit()
            assert helper.stdout == b"0"
            assert len(helper.stderr.splitlines()) == 1
            assert f"lost {directory(lock_name)}" in helper.stderr
            etcd.delete(key["key"])


@pytest.mark.slow
def test_lease_longer_than_requested_is_accepted(helper_conf):
    # With an election timeout of 5 s, etcd's shortest lease is 8 s.
    with Etcd(1, ["--heartbeat-interval=500", "--election-timeout=5000"]) as slow:
        with Helper(helper_conf(host=slow.endpoints[0], lock_ttl=4, refresh=0.5), "-v") as helper:
            assert helper.status() == "0"
            helper.terminate()
            helper.wait_exit()
            assert "leases of 8 s" in helper.stderr
