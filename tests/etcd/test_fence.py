# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the kernel timer in a real holder: it ends the process before its lease, however it was stopped."""

from __future__ import annotations

import time

import pytest

from tests.support.helper import PROGRAM, Helper

pytestmark = pytest.mark.slow

TTL = 9


def test_holder_stopped_past_its_lease_is_gone_once_continued(etcd, helper_conf, lock_name, keys):
    with Helper(helper_conf()) as helper:
        assert helper.status() == "0"
        helper.stop()
        etcd.wait_gone(f"/_locks/_ctdb/{lock_name}/", TTL + 3)
        with Helper(helper_conf()) as successor:
            assert successor.status() == "0"
            (key,) = keys()
            helper.cont()
            helper.wait_exit()
            assert helper.stdout == b"0" and helper.returncode == -14
            time.sleep(1)
            assert keys() == [key] and successor.alive


def test_holder_stopped_for_less_than_its_lease_continues(helper_conf, keys):
    with Helper(helper_conf()) as helper:
        assert helper.status() == "0"
        (key,) = keys()
        helper.stop()
        time.sleep(5)
        helper.cont()
        time.sleep(TTL)
        assert helper.alive and keys() == [key]


def test_inherited_blocked_sigalrm_does_not_disarm_the_fence(helper_conf):
    inherited = ["--ignore-signal=ALRM", "--block-signal=ALRM,TERM"]
    with Helper(None, *inherited, PROGRAM, "-c", str(helper_conf()), program="env") as helper:
        assert helper.status() == "0"
        helper.stop()
        time.sleep(TTL)
        helper.cont()
        helper.wait_exit()
        assert helper.returncode == -14
