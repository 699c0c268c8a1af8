# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of user and password in the v3 API: who may take the lock."""

from __future__ import annotations

import json
import time

import pytest

from tests.support import login
from tests.support.certs import Authority
from tests.support.helper import Helper
from tests.support.login import add_user, refusal, with_login
from tests.support.proxy import Proxy

conf, guarded = login.conf, login.guarded


def test_user_created_as_in_the_shipped_file_takes_and_releases(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    with Helper(conf(guarded, user)) as holder:
        assert holder.status() == "0"
        with Helper(conf(guarded, user)) as helper:
            assert helper.status() == "1"
        time.sleep(3)
        assert holder.alive
        holder.terminate()
        holder.wait_exit()
        assert holder.stderr == ""
        assert not guarded.keys(f"/_locks/_ctdb/{lock_name}/")


@pytest.mark.parametrize("permission", ["read", "write", ""])
def test_user_without_readwrite_is_refused_with_what_to_grant(
    guarded, conf, lock_name, permission
):
    user = add_user(guarded, lock_name, permission)
    leases = guarded.leases()
    line = refusal(conf(guarded, user))
    directory = f"/_locks/_ctdb/{lock_name}/"
    assert f"permission denied: user {user} needs readwrite permission on {directory}" in line
    grant = line.rpartition(": etcdctl ")[2]
    assert guarded.leases() == leases
    guarded.etcdctl(*grant.replace("ROLE", user).split())
    with Helper(conf(guarded, user)) as helper:
        assert helper.status() == "0"


def test_a_permission_for_another_lock_is_not_enough(guarded, conf, lock_name):
    user = add_user(guarded, lock_name + "X")
    assert f"needs readwrite permission on /_locks/_ctdb/{lock_name}/" in refusal(conf(guarded, user))


def test_a_wrong_user_or_password_is_refused_at_once(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    for wrong in conf(guarded, user, password="wrong"), conf(guarded, "nobody"):
        line = refusal(wrong)
        assert "authentication failed" in line and "check username (" in line


def test_a_missing_user_is_refused_at_once_where_etcd_requires_one(guarded, conf):
    line = refusal(conf(guarded, None, password=None))
    assert "user name is empty: set username and password" in line


def test_login_is_skipped_and_noted_with_v_if_auth_is_disabled(etcd, conf):
    with Helper(conf(etcd, "somebody"), "-v") as helper:
        assert helper.status() == "0"
        assert "etcd's auth is not enabled: continuing without login" in helper.stderr
        helper.terminate()
        helper.wait_exit()
    with Helper(conf(etcd, "somebody")) as helper:
        assert helper.status() == "0"
        assert helper.stderr == ""


@pytest.mark.parametrize(
    "message",
    ["etcdserver: invalid auth token", "etcdserver: revision of auth store is old", "etcdserver: user name is empty"],
)
def test_etcd_that_accepts_no_token_is_queried_slowly_until_deadline(guarded, conf, lock_name, message):
    user = add_user(guarded, lock_name)
    with Proxy(guarded.endpoints[0]) as proxy:
        body = json.dumps({"error": message, "message": message, "code": 16}).encode()
        proxy.answer_with(401, body, matching=b"kv/range")
        with Helper(conf(guarded, user, host=proxy.endpoint, acquire_timeout=4)) as helper:
            assert helper.status() == "2", helper.describe()
            helper.wait_exit()
            assert 3.5 < helper.answered_after < 10
            assert proxy.seen().count("auth/authenticate") < 20
            assert message in helper.stderr


def test_certificate_with_a_cn_beside_auth_is_refused_with_advice(conf, lock_name, tmp_path):
    pki = Authority(tmp_path)
    args = ["--client-cert-auth", "--trusted-ca-file", pki.ca]
    with with_login(args, tls=pki.issue("server")) as etcd:
        user = add_user(etcd, lock_name)
        keys = {"protocol": "https", "ca_cert": pki.ca}
        named = pki.issue("named", san="", subject="/CN=somebody")
        line = refusal(conf(etcd, user, cert=[named.cert, named.key], **keys))
        assert "CommonName of client" in line and "certificate without a CN" in line
        plain = pki.issue("plain", san="")
        with Helper(conf(etcd, user, cert=[plain.cert, plain.key], **keys)) as helper:
            assert helper.status() == "0"
