# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of user and password while the lock is held: the renewal of tokens, and the effect of changes in etcd."""

from __future__ import annotations

import time

import pytest

from tests.support import login
from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.login import PASSWORD, add_user, change_password, with_login
from tests.support.machine import wait_until
from tests.support.proxy import Proxy

conf, guarded = login.conf, login.guarded

TTL = 9


@pytest.mark.slow
def test_auth_enabled_while_the_lock_is_held_does_not_affect_the_holder(conf, lock_name):
    with Etcd(1) as etcd:
        user = add_user(etcd, lock_name)
        with Helper(conf(etcd, user)) as helper:
            assert helper.status() == "0"
            (key,) = etcd.keys("/_locks/_ctdb/")
            etcd.etcdctl("user", "add", "root:root")
            etcd.etcdctl("user", "grant-role", "root", "root")
            etcd.etcdctl("auth", "enable")
            etcd.user = "root:root"
            time.sleep(TTL + 2)
            assert helper.alive and etcd.keys("/_locks/_ctdb/") == [key], helper.describe()


@pytest.mark.slow
def test_tokens_of_1_s_are_renewed_for_as_long_as_the_lock_is_held(conf, lock_name):
    with with_login(["--auth-token-ttl=1"]) as etcd:
        user = add_user(etcd, lock_name)
        with Proxy(etcd.endpoints[0]) as proxy:
            with Helper(conf(etcd, user, host=proxy.endpoint)) as helper:
                assert helper.status() == "0"
                (key,) = etcd.keys("/_locks/_ctdb/")
                time.sleep(TTL + 3)
                assert helper.alive and helper.stderr == ""
                assert etcd.keys("/_locks/_ctdb/") == [key]
                # One login per refresh, not one per request.
                assert 4 <= proxy.seen().count("auth/authenticate") <= 8


@pytest.mark.slow
def test_a_token_lasts_while_it_is_used(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    with Proxy(guarded.endpoints[0]) as proxy, Helper(conf(guarded, user, host=proxy.endpoint)) as helper:
        assert helper.status() == "0"
        time.sleep(7)
        assert proxy.seen().count("auth/authenticate") == 1


@pytest.mark.slow
@pytest.mark.parametrize("members", [1, 3])
def test_restart_of_a_member_causes_a_login_and_not_a_loss(conf, lock_name, members):
    with with_login(members=members) as etcd:
        user = add_user(etcd, lock_name)
        with Helper(conf(etcd, user)) as helper:
            assert helper.status() == "0"
            (key,) = etcd.keys("/_locks/_ctdb/")
            for member in etcd.members:
                member.restart()
                etcd.wait_healthy()
                time.sleep(3)
            time.sleep(TTL)
            assert helper.alive and etcd.keys("/_locks/_ctdb/") == [key], helper.describe()


@pytest.mark.slow
def test_changed_password_loses_the_lock_within_the_ttl(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    with Helper(conf(guarded, user)) as helper:
        assert helper.status() == "0"
        change_password(guarded, user, "another")
        changed = time.monotonic()
        assert helper.wait_eof(12) - changed < TTL
        helper.wait_exit()
        assert "lost " in helper.stderr and "authentication failed" in helper.stderr
        assert PASSWORD not in helper.stderr


@pytest.mark.slow
def test_revoked_permission_loses_the_lock_within_the_ttl(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    with Helper(conf(guarded, user)) as helper:
        assert helper.status() == "0"
        guarded.etcdctl("user", "revoke-role", user, user)
        changed = time.monotonic()
        assert helper.wait_eof(12) - changed < TTL
        helper.wait_exit()
        assert "lost " in helper.stderr and "permission denied" in helper.stderr


@pytest.mark.slow
def test_role_change_does_not_affect_the_holder(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    with Helper(conf(guarded, user)) as helper:
        assert helper.status() == "0"
        for number in range(10):
            guarded.etcdctl("role", "grant-permission", user, "read", f"/elsewhere{number}")
            time.sleep(0.5)
        assert helper.alive and helper.stderr == ""


@pytest.mark.slow
def test_connection_closed_instead_of_401_leads_to_a_new_login(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    with Proxy(guarded.endpoints[0]) as proxy, Helper(conf(guarded, user, host=proxy.endpoint)) as helper:
        assert helper.status() == "0"
        proxy.truncate_answers(0)
        wait_until(lambda: helper.stderr, "a refresh that fails")
        proxy.forward()
        wait_until(lambda: proxy.seen().count("auth/authenticate") > 1, "another login")
        time.sleep(TTL)
        assert helper.alive
