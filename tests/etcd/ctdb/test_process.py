# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the helper as a process: signals, parent, reader, inherited descriptors. The fence: etcd/test_fence.py."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.support.helper import PATH, PROGRAM, Helper, full_pipe, terminated_at_any_moment, usual_start
from tests.support.machine import wait_until

TTL = 9


@pytest.mark.slow
def test_sigterm_at_any_moment_of_the_start_leaves_nothing(etcd, helper_conf, keys):
    leases = etcd.leases()
    for helper in terminated_at_any_moment(helper_conf, 20, 2):
        assert not keys() and set(etcd.leases()) <= set(leases), helper.describe()


@pytest.mark.slow
def test_a_parent_killed_at_any_moment_of_the_start_leaves_no_helper(etcd, helper_conf, keys):
    leases = etcd.leases()
    usual = usual_start(helper_conf())
    for step in range(20):
        with Helper(helper_conf(), own_parent=True) as helper:
            time.sleep(step / 15 * usual)
            helper.kill_parent()
            # ctdbd is also the reader of stdout.
            helper.close_stdout()
            helper.wait_exit()
            assert "Traceback" not in helper.stderr and "bug" not in helper.stderr
        assert not keys() and set(etcd.leases()) <= set(leases), f"at step {step}"


def test_ctrl_c_on_a_helper_run_by_hand_releases_the_lock(helper_conf, keys):
    with Helper(helper_conf()) as helper:
        assert helper.status() == "0" and keys()
        helper.signal(signal.SIGINT)
        helper.wait_exit()
        assert not keys() and helper.stderr == ""


@pytest.mark.parametrize("pidfd", [True, False])
def test_a_parent_killed_while_holding_ends_the_helper_and_frees_the_lock(helper_conf, keys, pidfd):
    strace = None if pidfd else ["-o", "/dev/null", "-e", "inject=pidfd_open:error=ENOSYS"]
    with Helper(helper_conf(lock_ttl=60, refresh=20), own_parent=True, strace=strace) as helper:
        assert helper.status() == "0" and keys()
        helper.kill_parent()
        killed = time.monotonic()
        assert helper.wait_exit() - killed < 10
        assert not keys() and helper.stderr == ""


@pytest.mark.root
@pytest.mark.parametrize("command", ['"$@"', '"$@"; exit $?'], ids=["parent 0", "parent 1"])
def test_helper_without_a_parent_does_not_take_the_lock(helper_conf, keys, command):
    inside = [
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        ("exec " if command == '"$@"' else "") + command,
    ]
    with Helper(None, *inside, "sh", PROGRAM, "-c", str(helper_conf()), program="unshare") as helper:
        assert helper.status() == "3"
        helper.wait_exit()
        assert "the parent process is gone" in helper.stderr and not keys()


def test_closed_reader_of_stdout_releases_the_lock(helper_conf, keys):
    with Helper(helper_conf(lock_ttl=60, refresh=20), "-v") as helper:
        assert helper.status() == "0" and keys()
        helper.close_stdout()
        closed = time.monotonic()
        assert helper.wait_exit() - closed < 10
        assert not keys() and "nobody reads our stdout" in helper.stderr


def test_descriptors_that_ctdbd_leaks_are_closed(helper_conf):
    leaked, other = os.pipe()
    try:
        with Helper(helper_conf(), extra_fds=[leaked, other]) as helper:
            assert helper.status() == "0"
            ours = {os.readlink(f"/proc/{os.getpid()}/fd/{leaked}")}
            theirs = {os.readlink(f"/proc/{helper.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{helper.pid}/fd")}
            assert not ours & theirs
            # stdin, stdout, stderr, both ends of the wake-up pipe, the parent's pidfd, the connection and the watch's.
            # More are open for a moment: the nonce file after the `0`, and sometimes one during a renewal.
            wait_until(lambda: len(os.listdir(f"/proc/{helper.pid}/fd")) == 8, "eight descriptors")
    finally:
        os.close(leaked)
        os.close(other)


@pytest.mark.slow
def test_unread_log_stops_neither_the_holder_nor_the_release(helper_conf, keys):
    reader, writer = full_pipe()
    try:
        with Helper(helper_conf(), "-vvv", stderr=writer) as helper:
            assert helper.status() == "0"
            time.sleep(TTL + 1)
            assert helper.alive and keys()
            helper.terminate()
            asked = time.monotonic()
            assert helper.wait_exit() - asked < 1.5 and not keys()
    finally:
        os.close(reader)
        os.close(writer)


def test_no_child_remains_or_has_our_stdout(helper_conf, lock_name, tmp_path):
    stdout = tmp_path / "stdout"
    testparm = tmp_path / "testparm"
    testparm.write_text(f"#!/bin/sh\nreadlink /proc/$PPID/fd/1 /proc/$$/fd/1 >{stdout}\necho {lock_name}\n")
    testparm.chmod(0o755)
    with Helper(helper_conf(netbios_name=None), env={"PATH": f"{tmp_path}:{PATH}"}) as helper:
        assert helper.status() == "0"
        ours, theirs = stdout.read_text().splitlines()
        assert ours.startswith("pipe:") and theirs != ours
        with open(f"/proc/{helper.pid}/task/{helper.pid}/children", encoding="ascii") as children:
            assert children.read() == ""


def test_vvv_shows_the_wire_and_vv_every_request(helper_conf):
    with Helper(helper_conf(), "-vvv") as wire, Helper(helper_conf(), "-vv") as requests:
        for helper in wire, requests:
            helper.status()
        assert "> POST /v3/kv/range" in wire.stderr and '"header"' in wire.stderr
        assert "kv/range: 200 from 127.0.0.1:" in requests.stderr and "> POST" not in requests.stderr
