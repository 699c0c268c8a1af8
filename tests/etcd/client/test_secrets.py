# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests that no secret appears in the log, in etcd or in the process list."""

from __future__ import annotations

import base64
import json
import time

import pytest

from tests.support import login
from tests.support.helper import Helper
from tests.support.login import PASSWORD, add_user, change_password
from tests.support.process import Watched
from tests.support.proxy import Proxy

conf, guarded = login.conf, login.guarded


@pytest.mark.slow
@pytest.mark.parametrize("api", ["3", "auto"])
def test_secrets_are_not_in_the_log_the_value_or_the_process_list(guarded, conf, lock_name, api):
    # Not PASSWORD: another test's etcdctl shows that on its command line.
    password = f'p"ä\\{lock_name}'
    user = add_user(guarded, lock_name, password=password)
    with Proxy(guarded.endpoints[0]) as proxy:
        with Watched(["sh", "-c", "while :; do ps axww -o args; sleep 0.01; done"]) as processes:
            with Helper(conf(guarded, user, password=f"'{password}'", host=proxy.endpoint, api=api), "-vvv") as helper:
                assert helper.status() == "0"
                (key,) = guarded.keys("/_locks/_ctdb/" + lock_name)
                proxy.truncate_answers()
                time.sleep(2.5)
                proxy.forward()
                change_password(guarded, user, "another")
                helper.wait_exit()
                log = helper.stderr
                shown = log + key["value"] + processes.stdout.decode(errors="replace")
    assert "POST /v3/auth/authenticate" in log and "'Authorization': '***'" in log
    plain = [password, json.dumps(password)[1:-1], base64.b64encode(f"{user}:{password}".encode()).decode()]
    assert not [secret for secret in plain if secret in shown]
    assert '"token"' not in shown


def test_password_repeated_at_the_login_does_not_reach_the_log(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    with Proxy(guarded.endpoints[0]) as proxy:
        body = json.dumps({"message": f"cannot use <{PASSWORD}>"}, ensure_ascii=False).encode()
        proxy.answer_with(500, body, matching=b"auth/authenticate")
        with Helper(conf(guarded, user, host=proxy.endpoint, acquire_timeout=2), "-vvv") as helper:
            assert helper.status() == "2"
            helper.wait_exit()
            assert "etcd reports: what may repeat the password (HTTP status 500)" in helper.stderr
            assert PASSWORD not in helper.stderr and json.dumps(PASSWORD, ensure_ascii=False)[1:-1] not in helper.stderr


def test_log_does_not_reveal_a_password_that_is_one_of_its_words(guarded, conf, lock_name):
    user = add_user(guarded, lock_name, password="_ctdb")
    with Helper(conf(guarded, user, password="_ctdb"), "-vvv") as helper:
        assert helper.status() == "0"
        helper.terminate()
        helper.wait_exit()
        assert f"holding /_locks/_ctdb/{lock_name}/" in helper.stderr
