# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests that every answer but `0` comes in time, whatever delays it. Otherwise CTDB bans nodes."""

from __future__ import annotations

import socket
import sys
import time
from contextlib import ExitStack

import pytest

from tests.support import kinds
from tests.support.helper import PATH, Helper, crash
from tests.support.machine import end, spawn, wait_until
from tests.support.names import Names
from tests.support.proxy import Proxy

LIMIT = 5  # CTDB's; tests/unit/ctdb/test_hold.py requires half a second less
kind, etcd, conf = kinds.kind, kinds.etcd, kinds.conf


@pytest.fixture
def helper_conf(helper_conf):
    """Like helper_conf, with the default of acquire_timeout."""
    return lambda **keys: helper_conf(**{"acquire_timeout": None, **keys})


@pytest.fixture
def busy():
    """Run two loops that leave each processor half of its time."""
    loops = [spawn([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    yield
    for loop in loops:
        end(loop)


@pytest.fixture
def proxy(etcd):
    with Proxy(etcd.endpoints[0]) as proxy:
        yield proxy


@pytest.fixture
def slow_testparm(tmp_path):
    """Return a function that makes an environment in which testparm answers late."""

    def environment(seconds, name):
        script = tmp_path / "testparm"
        script.write_text(f"#!/bin/sh\nsleep {seconds}\necho {name}\n")
        script.chmod(0o755)
        return {"PATH": f"{tmp_path}:{PATH}"}

    return environment


def in_time(helper, *answers):
    assert helper.status() in answers, helper.describe()
    assert helper.answered_after < LIMIT, helper.describe()
    helper.wait_exit()


@pytest.mark.parametrize("how", ["refuse", "freeze", "freeze_answers"])
def test_status_is_in_time_if_etcd_is_unusable(proxy, conf, how):
    getattr(proxy, how)()
    with Helper(conf(host=proxy.endpoint)) as helper:
        in_time(helper, "2")


@pytest.mark.parametrize("seconds", [0.5, 1.5])
def test_status_is_in_time_or_the_lock_is_held_if_etcd_is_slow(proxy, conf, seconds):
    proxy.delay(seconds)
    with Helper(conf(host=proxy.endpoint)) as helper:
        if helper.status() != "0":
            in_time(helper, "2")


def test_status_is_in_time_if_three_endpoints_are_silent(conf):
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server((f"127.0.0.{n}", 0), backlog=64)) for n in (1, 2, 3)]
        with Helper(conf(host=["{}:{}".format(*server.getsockname()) for server in silent])) as helper:
            in_time(helper, "2")


def test_status_is_in_time_if_name_servers_are_silent(tmp_path, helper_conf):
    with Names(tmp_path) as names:
        names.fall_silent()
        with names.helper(helper_conf(host="etcd.test")) as helper:
            in_time(helper, "2")
        with names.helper(helper_conf(host=None, srv_domain="etcd.test")) as helper:
            in_time(helper, "2")


def test_status_is_in_time_if_the_tls_handshake_hangs(helper_conf):
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        endpoint = f"127.0.0.1:{silent.getsockname()[1]}"
        with Helper(helper_conf(host=endpoint, protocol="https")) as helper:
            in_time(helper, "2")


def test_status_is_in_time_if_the_login_gets_no_answer(etcd, conf):
    with Proxy(etcd.endpoints[0]) as proxy:
        proxy.hold_next_request(b"/v3/auth/authenticate", every=True)
        path = conf(host=proxy.endpoint, api="3", username="u", password="secret")
        path.chmod(0o600)
        with Helper(path) as helper:
            in_time(helper, "2")


def test_status_is_in_time_if_testparm_hangs_or_closes_its_output(etcd, tmp_path, slow_testparm):
    path = tmp_path / "no-name.conf"
    path.write_text(f"host = {etcd.endpoints[0]}\n")
    env = slow_testparm(60, "X")
    with Helper(path, env=env) as helper:
        in_time(helper, "2")
    (tmp_path / "testparm").write_text("#!/bin/sh\ntrap '' ALRM TERM\nexec >&- 2>&-\nsleep 60\n")
    with Helper(path, env=env) as helper:
        in_time(helper, "2")
        assert "testparm gave no answer" in helper.stderr


def test_sigterm_ends_the_wait_for_a_testparm_that_has_closed_its_output(etcd, tmp_path, slow_testparm):
    path = tmp_path / "no-name.conf"
    path.write_text(f"host = {etcd.endpoints[0]}\n")
    env = slow_testparm(60, "X")
    (tmp_path / "testparm").write_text(
        f"#!/bin/sh\ntrap '' ALRM TERM\nexec >&- 2>&-\ntouch {tmp_path}/closed\nsleep 60\n"
    )
    with Helper(path, env=env) as helper:
        wait_until((tmp_path / "closed").exists, "testparm to close its output")
        helper.terminate()
        asked = time.monotonic()
        assert helper.wait_exit() - asked < 2.5 and helper.stdout == b""


def test_status_is_in_time_while_a_lease_expires(conf, nonce_file, elected):
    with Helper(conf(acquire_timeout=20)) as holder:
        crash(holder, nonce_file, elsewhere=True)
        # With less time the three may answer before the end is near enough to be waited for.
        time.sleep(5.5)
        logged = ""
        for _ in range(3):
            with Helper(conf(), "-v") as helper:
                status = helper.status()
                assert status == "0" or helper.answered_after < LIMIT
                logged += helper.stderr
            if status == "0":
                break
        assert "waiting for the end of a lease" in logged


@pytest.mark.slow
@pytest.mark.xdist_group("busy")
@pytest.mark.parametrize("how", ["refuse", "freeze"])
def test_status_is_in_time_after_all_waits_on_a_busy_machine(proxy, conf, lock_name, slow_testparm, busy, how):
    getattr(proxy, how)()
    path = conf(host=[proxy.endpoint, "127.0.0.1:1"], netbios_name=None)
    with Helper(path, env=slow_testparm(2, lock_name)) as helper:
        in_time(helper, "2")
    proxy.forward()
    with Helper(path, env=slow_testparm(3.5, lock_name)) as helper:
        if helper.status() != "0":
            in_time(helper, "2")
