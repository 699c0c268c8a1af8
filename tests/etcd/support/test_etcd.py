# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the tests' own etcd, on which the results of the other tests rest."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import TREE, release
from tests.support.etcd import Etcd
from tests.support.machine import gone, wait_until


def test_etcd_of_the_tests_is_the_requested_one(etcd: Etcd) -> None:
    assert etcd.members[0].request("GET", "/version")["etcdserver"] == release.version()
    assert os.path.samefile(f"/proc/{etcd.members[0].pid}/exe", release.program())


def test_error_is_no_answer_whatever_shape_this_etcd_gives_it(etcd: Etcd) -> None:
    assert etcd.members[0].request("POST", "/v3/lease/revoke").get("code") == 5  # NOT_FOUND
    assert etcd.members[0].post("lease/revoke", {"ID": 5}) is None
    assert etcd.members[0].post("lease/leases", {}) is not None


def test_three_members_survive_the_loss_of_their_leader(etcd3: Etcd, lock_name: str) -> None:
    first = etcd3.leader()
    assert [member.is_leader() for member in etcd3.members].count(True) == 1
    first.kill()
    second = etcd3.leader()
    assert second is not first
    etcd3.put(f"/x/{lock_name}", "still there")
    first.restart()
    etcd3.wait_healthy()
    second.pause()
    with socket.create_connection(("127.0.0.1", int(second.endpoint.split(":")[1])), 1) as accepted:
        accepted.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        accepted.settimeout(0.3)
        with pytest.raises(socket.timeout):
            accepted.recv(1)
    assert etcd3.leader() is not second
    assert etcd3.keys(f"/x/{lock_name}")[0]["value"] == "still there"
    second.resume()
    etcd3.wait_healthy()


def test_view_of_etcd_shows_keys_leases_and_revisions(etcd: Etcd, lock_name: str) -> None:
    directory = f"/x/{lock_name}/"
    lease = etcd.grant(60)
    etcd.put(directory + "b", "value", lease)
    etcd.put(directory + "a", "other")
    revision = etcd.revision()
    keys = etcd.keys(directory)
    assert [(key["key"], key["value"], key["lease"]) for key in keys] == [
        (directory + "b", "value", lease),
        (directory + "a", "other", 0),
    ]
    assert keys[1]["create_revision"] == keys[1]["mod_revision"] == revision
    assert lease in etcd.leases() and 50 < etcd.lease_left(lease) <= 60
    etcd.revoke(lease)
    assert lease not in etcd.leases() and etcd.lease_left(lease) == -1
    assert etcd.delete(directory, prefix=True) == 1
    assert etcd.keys(directory) == [] and etcd.revision() == revision + 2


def test_etcdctl_lock_takes_turns(etcd: Etcd, lock_name: str) -> None:
    with etcd.lock_process(f"/x/{lock_name}") as first:
        key = first.wait_acquired()
        assert [held["key"] for held in etcd.keys(f"/x/{lock_name}")] == [key]
        with etcd.lock_process(f"/x/{lock_name}") as second:
            wait_until(lambda: len(etcd.keys(f"/x/{lock_name}")) == 2, "the second in the queue")
            assert not second.acquired
            first.release()
            assert second.wait_acquired() != key
            second.release()
    assert etcd.keys(f"/x/{lock_name}") == []


def test_a_killed_test_run_leaves_nothing_behind() -> None:
    script = """
from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.proxy import Proxy
etcd = Etcd(1).start()
proxy = Proxy(etcd.endpoints[0])
helpers = [Helper(None, '-c', 'printf 0; exec sleep 60', program='/bin/sh', own_parent=own) for own in (False, True)]
[helper.status() for helper in helpers]
print(etcd.members[0].log_path.parent, etcd.members[0].pid, proxy.pid, *[helper.pid for helper in helpers],
      helpers[1].parent_pid, flush=True)
input()
"""
    env = {**os.environ, "PYTHONPATH": str(TREE)}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout
        directory, *pids = run.stdout.readline().split()
        assert Path(directory).exists() and len(pids) == 5 and not any(gone(int(pid)) for pid in pids)
        run.kill()
    wait_until(lambda: all(gone(int(pid)) for pid in pids), "the end of all processes")
    wait_until(lambda: not Path(directory).exists(), "the removal of the directory")
