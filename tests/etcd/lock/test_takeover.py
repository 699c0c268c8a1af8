# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of takeover from a dead process of this machine, and from no process that is not proven dead."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from ctdb_etcd.lock.holder import proof
from ctdb_etcd.lock.takeover import NonceFile
from tests.support import TREE
from tests.support import kinds
from tests.support.helper import PROGRAM, Helper, contend, crash
from tests.support.machine import wait_until
from tests.support.process import Watched
from tests.support.proxy import Proxy

TTL = 9
kind, etcd, conf, keys = kinds.kind, kinds.etcd, kinds.conf, kinds.keys


@pytest.fixture
def change(etcd, keys):
    """Return `write(**fields)`, which changes fields in the values of the holder's keys and keeps the keys."""

    def write(**fields):
        for key in keys():
            value = json.dumps({**json.loads(key["value"]), **fields})
            if "lease" in key:
                etcd.put(key["key"], value, key["lease"])
            else:
                etcd.members[0].request("PUT", f"/v2/keys{key['key']}?" + urlencode({"value": value, "ttl": 60}))

    return write


def answer(conf):
    """Return a helper's answer, and release what it took."""
    with Helper(conf) as helper:
        answer = helper.status()
        helper.terminate()
        helper.wait_exit()
        return answer


@pytest.mark.parametrize("own_parent", [True, False], ids=["reaped", "zombie"])
def test_a_killed_holder_of_this_machine_is_replaced_at_once(etcd, conf, keys, nonce_file, own_parent):
    with Helper(conf(), own_parent=own_parent) as holder:
        assert holder.status() == "0"
        before = keys()
        crash(holder, nonce_file)
        with Helper(conf(), "-v") as successor:
            assert successor.status() == "0" and keys() != before, successor.describe()
            wait_until(lambda: "holding" in successor.stderr, "the line that says so")
            assert successor.stderr.count(f"its process is gone: node {os.uname().nodename}") == len(before)
            assert len(keys()) == len(before)
            assert not {key["lease"] for key in before if "lease" in key} & set(etcd.leases())


def test_release_removes_the_nonce_file_of_the_holder(conf, nonce_file):
    with Helper(conf()) as holder:
        assert holder.status() == "0"
        wait_until(nonce_file.exists, "the holder's nonce file")
        holder.terminate()
        holder.wait_exit()
        assert not nonce_file.exists()


def test_a_stopped_holder_is_not_dead(conf, nonce_file):
    with Helper(conf()) as holder:
        assert holder.status() == "0"
        wait_until(nonce_file.exists, "the holder's nonce file")
        holder.stop()
        assert answer(conf()) == "1"


def test_holder_is_not_dead_if_anything_about_it_is_in_doubt(conf, keys, change, nonce_file):
    me = proof("")
    doubts = [
        {"boot_id": "00000000-0000-4000-8000-000000000000"},
        {"pid_namespace": 1},
        {"time_namespace": 1},
        {"version": "0.0"},
        {"nonce": "0" * 16},
        {"nonce": None},
        {"pid": "1234567"},
        {"pid": 0},
        {"pid": -1},
        {"pid": True},
        {"start_time": None},
        {"pid": me["pid"], "start_time": me["start_time"]},
    ]
    # The TTL is long enough for all cases.
    with Helper(conf(lock_ttl=60), own_parent=True) as holder:
        crash(holder, nonce_file)
        true = json.loads(keys()[0]["value"])
        for fields in doubts:
            change(**fields)
            assert answer(conf()) == "1", fields
            change(**true)
        nonce = nonce_file.read_text()
        for left in ("", "0" * 16, nonce + "0"):
            nonce_file.write_text(left)
            assert answer(conf()) == "1", left
        nonce_file.write_text(nonce)
        # Another process has the holder's pid by now. That leaves no doubt.
        change(pid=me["pid"])
        assert answer(conf()) == "0"


def test_a_holder_in_another_pid_namespace_is_not_dead(conf, nonce_file, keys):
    # A shell runs between process 1 and the helper, because no helper may be a child of process 1.
    inside = ["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", 'sh -c "\\"\\$@\\"; exit" "$@"; exit']
    with Helper(None, *inside, "sh", "sh", PROGRAM, "-c", str(conf()), program="unshare") as holder:
        crash(holder, nonce_file)
        assert answer(conf()) == "1" and keys()


def test_a_process_whose_first_thread_has_ended_is_not_dead(lock_name, nonce_file):
    code = (
        "import ctypes, sys, threading, time\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from ctdb_etcd.lock.holder import proof\n"
        "from ctdb_etcd.lock.takeover import NonceFile\n"
        "me = proof('a nonce')\n"
        "NonceFile(sys.argv[2], me['nonce']).leave()\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "print(me, flush=True)\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    root = str(TREE)
    with Watched([sys.executable, "-c", code, root, lock_name]) as process:
        who = eval(process.wait_output())
        state = Path(f"/proc/{process.pid}/stat")
        wait_until(lambda: state.read_text().rpartition(") ")[2][0] == "Z", "the first thread's end")
        assert not NonceFile(lock_name, "").proves_dead(who)
        process.kill()
        process.wait_exit()
        assert NonceFile(lock_name, "").proves_dead(who)


@pytest.mark.slow
def test_one_of_16_contenders_replaces_a_dead_holder(conf, keys, nonce_file):
    for _ in range(2):
        # This test is about who holds, not about how soon a busy machine starts helpers.
        with Helper(conf(), own_parent=True) as holder:
            crash(holder, nonce_file)
            with contend(16, lambda _: conf()) as helpers:
                answers = sorted(helper.stdout for helper in helpers)
                assert answers == [b"0"] + [b"1"] * 15, [helper.describe() for helper in helpers]
                for helper in helpers:
                    helper.terminate()
                    helper.wait_exit()
            assert not keys()


@pytest.mark.parametrize("kind", [kinds.KINDS["v3"]], ids=["v3"])
def test_a_dead_holder_is_not_replaced_ahead_of_a_waiting_client(etcd, conf, nonce_file, lock_name):
    with Helper(conf(), own_parent=True) as holder:
        assert holder.status() == "0"
        with etcd.lock_process(f"/_locks/_ctdb/{lock_name}") as waiting:
            wait_until(lambda: len(etcd.keys(f"/_locks/_ctdb/{lock_name}/")) == 2, "etcdctl to wait")
            crash(holder, nonce_file)
            assert answer(conf()) == "1" and not waiting.acquired
            waiting.wait_acquired(TTL + 3)
            assert answer(conf()) == "1"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["reset", "truncate_answers"])
def test_replacement_with_a_lost_answer_is_recognized_by_its_key(etcd, conf, keys, nonce_file, how):
    # Each step hits another moment of the takeover.
    for step in range(6):
        with Helper(conf(), own_parent=True) as holder, Proxy(etcd.endpoints[0]) as proxy:
            crash(holder, nonce_file)
            count = len(keys())
            with Helper(conf(host=proxy.endpoint)) as successor:
                wait_until(lambda: proxy.seen().connections or successor.output, "its first connection")
                time.sleep(step * 0.004)
                getattr(proxy, how)()
                time.sleep(0.05)
                proxy.forward()
                assert successor.status() == "0", successor.describe()
                assert len(keys()) == count
                successor.terminate()
                successor.wait_exit()
        assert not keys()
