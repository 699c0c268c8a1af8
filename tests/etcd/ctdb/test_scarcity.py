# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of a process without descriptors, without /proc or without a child's status, and of a stopped one."""

from __future__ import annotations

import os
import resource
import time

import pytest

from tests.support.helper import PROGRAM, Helper
from tests.support.machine import wait_until

TTL = 3


def test_sigterm_without_a_free_descriptor_releases_the_lock(helper_conf, keys):
    with Helper(helper_conf()) as helper:
        assert helper.status() == "0"
        used = {int(fd) for fd in os.listdir(f"/proc/{helper.pid}/fd")}
        limit = min(set(range(len(used) + 1)) - used)
        resource.prlimit(helper.pid, resource.RLIMIT_NOFILE, (limit, limit))
        helper.terminate()
        helper.wait_exit()
        assert not keys() and "bug" not in helper.stderr


def test_start_without_descriptors_gives_2_and_one_line(helper_conf, keys):
    # Python itself needs a few descriptors. At each limit either Python does not start or CTDB gets its character.
    answers = set()
    for limit in range(4, 16):
        with Helper(None, f"--nofile={limit}", PROGRAM, "-c", str(helper_conf()), program="prlimit") as helper:
            wait_until(lambda: helper.output or not helper.alive, "a character or the end")
            if not helper.output:
                assert "ctdb_etcd_lock: " not in helper.stderr, helper.describe()
                continue
            status = helper.status()
            answers.add(status)
            helper.terminate()
            helper.wait_exit()
            assert status in "02" and "bug" not in helper.stderr, helper.describe()
            # Python may complain too.
            assert status == "0" or helper.stderr.count("ctdb_etcd_lock: ") == 1, helper.describe()
        assert not keys()
    assert answers == {"0", "2"}


def test_ignored_sigchld_does_not_hide_testparms_answer(etcd, tmp_path, lock_name, keys):
    (tmp_path / "smb.conf").write_text(f"[global]\nnetbios name = {lock_name}\n")
    conf = tmp_path / "no-name.conf"
    conf.write_text(f"host = {etcd.endpoints[0]}\n")
    env = {"SMB_CONF_PATH": str(tmp_path / "smb.conf")}
    with Helper(None, "--ignore-signal=CHLD", PROGRAM, "-c", str(conf), program="env", env=env) as helper:
        assert helper.status() == "0", helper.describe()
        assert keys()


@pytest.mark.root
def test_lock_is_taken_and_released_without_proc(helper_conf, keys):
    inside = ["--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    with Helper(None, *inside, PROGRAM, "-c", str(helper_conf()), program="unshare") as helper:
        assert helper.status() == "0", helper.describe()
        assert keys() and helper.stderr == ""
        helper.terminate()
        helper.wait_exit()
        assert not keys()


@pytest.mark.slow
def test_pause_while_the_timer_is_first_set_gives_no_lock(helper_conf, keys):
    delay = ["-o", "/dev/null", "-e", "inject=setitimer:delay_enter=8000000:when=1"]
    with Helper(helper_conf(lock_ttl=TTL, refresh=0.2), strace=delay) as helper:
        assert helper.status() == "2", helper.describe()
        helper.wait_exit()
        assert not keys() and "nothing is left of its lease" in helper.stderr


@pytest.mark.slow
def test_pause_while_a_renewal_sets_the_timer_does_not_move_the_end(helper_conf, keys):
    # A renewal sets the timer twice: to a moment, then to its end. The third setting is the first renewal's second.
    delay = ["-o", "/dev/null", "-e", "inject=setitimer:delay_exit=1200000:when=3"]
    with Helper(helper_conf(lock_ttl=TTL, refresh=0.2), strace=delay) as helper:
        assert helper.status() == "0"
        wait_until(lambda: time.monotonic() - helper.started > 2.2, "the renewal")
        helper.stop()
        stopped = time.monotonic()
        wait_until(lambda: not keys(), "the lease to end", timeout=TTL + 3)
        assert time.monotonic() - stopped < TTL + 2
        helper.cont()
        helper.wait_exit()
        assert helper.returncode == -14 and helper.stderr == ""


@pytest.mark.slow
def test_pause_just_before_a_renewal_sets_the_timer_ends_the_holder(helper_conf):
    delay = ["-o", "/dev/null", "-e", "inject=setitimer:delay_enter=1200000:when=3"]
    with Helper(helper_conf(lock_ttl=TTL, refresh=0.2), strace=delay) as helper:
        assert helper.status() == "0"
        answered = helper.started + helper.answered_after
        assert helper.wait_exit() - answered < TTL and helper.stderr == ""
