# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of a cluster whose nodes change from one version of this program to another and back, node by node.

The other version is a copy of this one. Its value in the key differs by what lock/holder.py allows.
"""

from __future__ import annotations

import json
import shutil
import time

import pytest

from ctdb_etcd import __version__
from tests.support import TREE, kinds
from tests.support.helper import PROGRAM, Helper, successor_of
from tests.support.machine import wait_until
from tests.support.view import View

pytestmark = pytest.mark.slow

kind, etcd, conf, keys = kinds.kind, kinds.etcd, kinds.conf, kinds.keys

TTL = 5


def copy(directory, version, old, new):
    """Return a program of this version that writes one line of its value in another way."""
    shutil.copytree(TREE / "ctdb_etcd", directory / "ctdb_etcd", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TREE / "ctdb_etcd_lock.py", directory)
    for file, before, after in (
        ("__init__.py", f'__version__ = "{__version__}"', f'__version__ = "{version}"'),
        ("lock/holder.py", old, new),
    ):
        path = directory / "ctdb_etcd" / file
        text = path.read_text()
        assert before == after == "" or text.count(before) == 1
        path.write_text(text.replace(before, after))
    return str(directory / "ctdb_etcd_lock.py")


PROOF = 'return {"pid": os.getpid(), "start_time": process_state("self")[1], **surroundings(), "nonce": nonce}'
OTHERS = {
    "more fields": ('"version": __version__,', '"version": __version__, "rack": {"row": [1, 2.5]},'),
    "another proof": (PROOF, 'return {"pid": os.getpid(), "boot_id": 7, "nonce": [nonce], "proof": "x"}'),
    "nothing but the version": ("", ""),
}


@pytest.fixture(params=OTHERS)
def other(request, tmp_path):
    """Return the program of another version."""
    return copy(tmp_path, "99.0", *OTHERS[request.param])


@pytest.fixture(params=["up", "down"])
def versions(request, other):
    """Return the version that holds first and the one that follows it."""
    return (PROGRAM, other) if request.param == "up" else (other, PROGRAM)


def version_of(keys):
    (version,) = {json.loads(key["value"])["version"] for key in keys}
    return version


def test_each_version_names_and_succeeds_the_other(conf, keys, versions):
    first, second = versions
    with Helper(conf(lock_ttl=TTL), program=first) as holder:
        assert holder.status() == "0", holder.describe()
        holding = version_of(keys())
        with Helper(conf(lock_ttl=TTL), "-v", program=second) as contender:
            assert contender.status() == "1", contender.describe()
            contender.wait_exit()
            assert f"pid {holder.pid}, since 20" in contender.stderr
        report = View(conf(lock_ttl=TTL), "--status", "--json", program=second).json
        assert (report["holder"]["kind"], report["holder"]["pid"]) == ("ctdb-etcd", holder.pid)
        assert report["holder"]["version"] == holding and report["exit"] == 0
        holder.terminate()
        holder.wait_exit()
    with Helper(conf(lock_ttl=TTL), program=second) as successor:
        assert successor.status() == "0", successor.describe()
        assert version_of(keys()) != holding


def test_no_version_evicts_the_other_and_each_follows_its_lease(conf, keys, nonce_file, versions, elected):
    first, second = versions
    with Helper(conf(lock_ttl=TTL), program=first) as holder:
        assert holder.status() == "0"
        wait_until(lambda: nonce_file.exists() and nonce_file.read_text(), "the holder's nonce file")
        holder.kill()
        holder.wait_exit()
        killed = time.monotonic()
        dead = keys()
        with Helper(conf(lock_ttl=TTL), "-v", program=second) as contender:
            assert contender.status() == "1", contender.describe()
            contender.wait_exit()
            assert "waiting for the end" not in contender.stderr
        assert keys() == dead
    with successor_of(conf(lock_ttl=TTL), 1, program=second) as successor:
        # The killed holder's last renewal was at most one refresh before.
        assert successor.first_byte - killed > TTL - 2 - 1 and keys() != dead
