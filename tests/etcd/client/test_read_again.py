# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of a holder that reads its file and certificates again where that helps, and keeps the lock."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import ExitStack

import pytest

from tests.support import kinds, login, release
from tests.support.certs import Renewal
from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.login import QUOTED, add_user, change_password
from tests.support.machine import wait_until
from tests.support.proxy import Proxy

pytestmark = pytest.mark.slow

guarded, login_conf = login.guarded, login.conf
kind, etcd, conf, keys = kinds.kind, kinds.etcd, kinds.conf, kinds.keys

TTL = 9
TIMES = {"lock_ttl": TTL, "refresh": 1}
READ_AGAIN = "has changed and was read again"


def rewrite(path, old, new):
    """Change a file in place, as an administrator with an editor does."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def outlive(helper, seconds=TTL + 1):
    """Check that the lock outlives a lease that is not renewed."""
    time.sleep(seconds)
    assert helper.alive, helper.describe()


@pytest.mark.parametrize("first", ["file", "etcd"])
def test_password_changed_in_file_and_etcd_keeps_the_lock(guarded, login_conf, lock_name, first):
    user = add_user(guarded, lock_name)
    path = login_conf(guarded, user, **TIMES)
    with Helper(path) as helper:
        assert helper.status() == "0"
        (key,) = guarded.keys(f"/_locks/_ctdb/{lock_name}/")
        steps = [lambda: rewrite(path, QUOTED, "another"), lambda: change_password(guarded, user, "another")]
        for step in steps if first == "file" else reversed(steps):
            step()
            time.sleep(1)
        outlive(helper)
        assert guarded.keys(f"/_locks/_ctdb/{lock_name}/") == [key]
        assert helper.stderr.count(READ_AGAIN) == 1 and "another" not in helper.stderr


def test_new_user_of_the_file_is_used_once_etcd_refuses_the_old_one(guarded, login_conf, lock_name):
    user = add_user(guarded, lock_name)
    path = login_conf(guarded, user, **TIMES)
    with Helper(path) as helper:
        assert helper.status() == "0"
        guarded.etcdctl("user", "add", f"{user}-2:secret")
        guarded.etcdctl("user", "grant-role", f"{user}-2", user)
        rewrite(path, f"username = {user}", f"username = {user}-2")
        rewrite(path, QUOTED, "secret")
        guarded.etcdctl("user", "delete", user)
        outlive(helper)
        assert READ_AGAIN in helper.stderr


@pytest.mark.parametrize("end", [Proxy.refuse, Proxy.freeze])
def test_moved_endpoints_are_read_from_the_file(conf, etcd, keys, end):
    with Proxy(etcd.endpoints[0]) as proxy:
        path = conf(host=proxy.endpoint, **TIMES)
        with Helper(path) as helper:
            assert helper.status() == "0"
            before = keys()
            rewrite(path, proxy.endpoint, etcd.endpoints[0])
            seen = proxy.seen().count()
            wait_until(lambda: proxy.seen().count() > seen + 4, "refreshes at the old place")
            assert helper.stderr == ""
            end(proxy)
            wait_until(lambda: READ_AGAIN in helper.stderr, "the file to be read again")
            outlive(helper)
            assert [key["key"] for key in keys()] == [key["key"] for key in before]


def test_broken_file_is_logged_once_and_the_old_values_stay(conf, etcd):
    with Proxy(etcd.endpoints[0]) as proxy:
        path = conf(host=proxy.endpoint, **TIMES)
        with Helper(path) as helper:
            assert helper.status() == "0"
            path.write_text("host = \nnonsense\n")
            proxy.refuse()
            wait_until(lambda: "nonsense" in helper.stderr or "line 2" in helper.stderr, "the fault")
            time.sleep(1)
            proxy.forward()
            outlive(helper)
            assert helper.stderr.count("going on with what the file said before") == 1, helper.describe()
            path.unlink()
            proxy.refuse()
            wait_until(lambda: "No such file" in helper.stderr, "the fault")
            proxy.forward()
            outlive(helper)


def test_changed_settings_of_the_lock_are_ignored_and_logged_once(conf, etcd, keys, lock_name):
    with Proxy(etcd.endpoints[0]) as proxy:
        path = conf(host=proxy.endpoint, locks_dir="_ctdb", **TIMES)
        with Helper(path) as helper:
            assert helper.status() == "0"
            before = keys()
            rewrite(path, proxy.endpoint, etcd.endpoints[0])
            rewrite(path, f"lock_ttl = {TTL}", "lock_ttl = 60")
            rewrite(path, "locks_dir = _ctdb", "locks_dir = elsewhere")
            rewrite(path, lock_name, "OTHER")
            path.write_text(path.read_text() + "expected_cluster_id = 1\n")
            proxy.refuse()
            outlive(helper)
            assert [key["key"] for key in keys()] == [key["key"] for key in before]
            kept = "a running helper keeps netbios_name, locks_dir, lock_ttl, expected_cluster_id as before"
            assert helper.stderr.count(kept) == 1, helper.describe()
            assert helper.stderr.count(READ_AGAIN) == 1


def wait_answers(helper):
    """Wait until a refresh is answered."""
    answered = helper.stderr.count(": 200 from")
    wait_until(lambda: helper.stderr.count(": 200 from") > answered + 1, "a refresh")


def test_file_that_blocks_the_reader_does_not_delay_the_fence(conf, etcd):
    with Proxy(etcd.endpoints[0]) as proxy:
        path = conf(host=proxy.endpoint, **TIMES)
        with Helper(path) as helper:
            assert helper.status() == "0"
            path.unlink()
            # Nobody writes to the FIFO, so the file hangs as on a file server that does not answer.
            os.mkfifo(path)
            gone = time.monotonic()
            proxy.refuse()
            assert helper.wait_exit(2 * TTL) - gone < TTL
            assert helper.returncode == -signal.SIGALRM, helper.describe()


def test_lock_stays_while_all_certificates_are_renewed(helper_conf, lock_name, tmp_path):
    files = Renewal(tmp_path)
    apis = ["3", "2", "auto"] if release.serves_v2() else ["3", "auto"]
    with Etcd(1, [*files.etcd_args, *release.v2_flags()], tls=files.server) as etcd, ExitStack() as stack:
        keys = {"host": etcd.endpoints[0], **files.keys}
        confs = [helper_conf(api=api, netbios_name=f"{lock_name}.{api}", **keys) for api in apis]
        helpers = [stack.enter_context(Helper(conf, "-vv")) for conf in confs]
        assert [helper.status() for helper in helpers] == ["0"] * len(apis)
        for step in files.steps():
            step()
            etcd.members[0].restart()
            etcd.wait_healthy()
            for helper in helpers:
                wait_answers(helper)
        for helper in helpers:
            outlive(helper, 10 if helper is helpers[0] else 0)
            assert helper.stderr.count("certificates have changed and were read again") >= 3, helper.describe()


def test_certificate_without_its_key_leaves_the_old_one_in_use(helper_conf, tmp_path):
    files = Renewal(tmp_path)
    with Etcd(1, files.etcd_args, tls=files.server) as etcd, Proxy(etcd.endpoints[0]) as proxy:
        one, other = files.old.issue("one"), files.old.issue("other")
        keys = {**files.keys, "host": proxy.endpoint, "cert": [one.cert, one.key], "api": "3"}
        with Helper(helper_conf(**keys, **TIMES)) as helper:
            assert helper.status() == "0"
            shutil.copy(other.cert, one.cert)
            for _ in range(2):
                proxy.refuse()
                proxy.forward()
                time.sleep(1)
            outlive(helper)
            fault = "going on with the certificates that were read before"
            assert helper.stderr.count(fault) == 1 and "does not belong to" in helper.stderr, helper.describe()
