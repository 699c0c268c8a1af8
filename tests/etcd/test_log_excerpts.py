# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the man page's excerpts of CTDB's log: each fault is made, and the helper logs exactly the lines shown.

Times, names and numbers are not compared. CTDB's own lines are left out.
"""

from __future__ import annotations

import re
import time
from xml.etree import ElementTree

import pytest

from tests.support import TREE
from tests.support.helper import Helper
from tests.support.machine import wait_until
from tests.support.proxy import Proxy

pytestmark = pytest.mark.slow

PAGE = ElementTree.parse(TREE / "man" / "ctdb-etcd.7.xml").getroot()
PREFIX = "ctdb_etcd_lock: "
VARIABLE = (
    (r"/\S+\.conf", "FILE"),
    (r"/_locks/_ctdb/[^/ ]+/", "LOCK"),
    (r"127\.0\.\d+\.\d+:\d+", "ENDPOINT"),
    (r"\d+-\d+-\d+T\d+:\d+:\d+Z", "DATE"),
    (r"node \S+, (pnn \d+, )?pid \d+", "HOLDER"),
    (r"Connection \w+( by peer)?|no connection in time|no answer in ([\d.]+ s|time)(?!:)", "REASON"),
    (r": (SIGTERM|nobody reads our stdout any more)$", ": END"),
    (r"\d+(\.\d+)?", "N"),
)


def masked(text):
    for pattern, word in VARIABLE:
        text = re.sub(pattern, word, text)
    return text


def excerpt(name, level):
    """Return the helper's lines in an excerpt that are logged with up to `level` v, masked."""
    (entry,) = (entry for entry in PAGE.iter("varlistentry") if entry.get("id") == f"log-{name}")
    lines = []
    for line in entry.find("listitem/screen").text.strip("\n").splitlines():
        if line.startswith(" " * 9):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
    found = set()
    for line in lines:
        marks, rest = re.fullmatch(r"(-v+|) +[\d:.]+ node\d [\w-]+: (.*)", line).groups()
        if rest.startswith(PREFIX) and marks.count("v") <= level:
            found.add(masked(rest[len(PREFIX) :]))
    return found


class Node:
    """The node of a story: the helpers' file, their verbosity, and everything that they log."""

    def __init__(self, helper_conf, level, **keys):
        self.conf = helper_conf(lock_ttl=4, refresh=0.5, **keys)
        self._args = [f"-{'v' * level}"] if level else []
        self._helpers = []

    def helper(self, status=None):
        helper = Helper(self.conf, *self._args)
        self._helpers.append(helper)
        assert status is None or helper.status() == status, helper.describe()
        return helper

    def holder(self):
        """Start helpers until one answers `0`, and return it."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            helper = self.helper()
            if helper.status() == "0":
                # The line about the lock comes after the status.
                wait_until(lambda: not self._args or "holding" in helper.stderr, "a word of the holder")
                return helper
        raise AssertionError("nobody can take the lock")

    def logged(self):
        lines = [line for helper in self._helpers for line in helper.stderr.splitlines()]
        assert all(line.startswith(PREFIX) for line in lines)
        return {masked(line[len(PREFIX) :]) for line in lines}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for helper in self._helpers:
            helper.close()


@pytest.fixture(params=[0, 1], ids=["without v", "with v"])
def level(request):
    return request.param


@pytest.fixture
def node(helper_conf, level):
    with Node(helper_conf, level) as node:
        yield node


@pytest.fixture
def proxy(etcd):
    with Proxy(etcd.endpoints[0]) as proxy:
        yield proxy


@pytest.fixture
def behind(helper_conf, level, proxy):
    """A node that reaches etcd through the proxy."""
    with Node(helper_conf, level, host=proxy.endpoint, acquire_timeout=8) as node:
        yield node


@pytest.fixture
def silent(helper_conf):
    """A node whose log does not matter."""
    with Node(helper_conf, 0) as node:
        yield node


def test_excerpt_for_taking_and_release_matches_the_log(node, level):
    helper = node.helper("0")
    helper.terminate()
    helper.wait_exit()
    assert node.logged() == excerpt("taken", level)


def test_excerpt_for_contention_matches_the_log(node, silent, level):
    silent.helper("0")
    node.helper("1").wait_exit()
    assert node.logged() == excerpt("contention", level)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_excerpt_for_a_held_lock_matches_the_log(helper_conf, level):
    with Node(helper_conf, level) as node:
        helper = node.helper("0")
        time.sleep(0.3)
        before = len(helper.stderr)
        time.sleep(1.2)
        logged = {masked(line[len(PREFIX) :]) for line in helper.stderr[before:].splitlines()}
    assert logged == excerpt("held", level)


@pytest.fixture
def elsewhere(lock_name, nonce_file_of):
    """Return a function that removes the nonce file, as if the holder were on another machine."""
    nonce_file = nonce_file_of(lock_name)

    def forget():
        wait_until(lambda: nonce_file.exists() and nonce_file.read_text(), "the holder's nonce file")
        nonce_file.unlink()

    return forget


def test_excerpt_for_a_killed_holder_matches_the_log(node, silent, level, lock_name, nonce_file_of):
    holder = silent.helper("0")
    node.helper("1").wait_exit()
    wait_until(nonce_file_of(lock_name).exists, "the holder's nonce file")
    holder.kill()
    holder.wait_exit()
    node.holder()
    assert node.logged() == excerpt("killed", level)


def test_excerpt_for_a_crashed_machine_matches_the_log(node, silent, level, elsewhere, elected):
    holder = silent.helper("0")
    elsewhere()
    holder.kill()
    time.sleep(2)
    node.holder()
    assert node.logged() == excerpt("crashed", level)


def test_excerpt_for_a_stopped_holder_matches_the_log(node, silent, level):
    helper = silent.helper("0")
    helper.stop()
    time.sleep(5)
    node.holder()
    helper.cont()
    helper.wait_exit()
    assert silent.logged() == set() and node.logged() == excerpt("stopped", level)


def test_excerpt_for_a_deleted_key_matches_the_log(etcd, node, level, lock_name):
    helper = node.helper("0")
    etcd.delete(f"/_locks/_ctdb/{lock_name}/", prefix=True)
    helper.wait_exit()
    node.holder()
    assert node.logged() == excerpt("deleted", level)


def test_excerpt_for_a_short_outage_matches_the_log(behind, proxy, level):
    helper = behind.helper("0")
    proxy.refuse()
    time.sleep(1.5)
    proxy.forward()
    wait_until(lambda: "answers again" in helper.stderr, "an answer")
    assert behind.logged() - excerpt("taken", level) == excerpt("moment", level)


def test_excerpt_for_moved_endpoints_matches_the_log(etcd, behind, proxy, level):
    helper = behind.helper("0")
    behind.conf.write_text(behind.conf.read_text().replace(proxy.endpoint, etcd.endpoints[0]))
    proxy.refuse()
    wait_until(lambda: "answers again" in helper.stderr, "an answer")
    assert behind.logged() - excerpt("taken", level) == excerpt("moved", level)


def surely(lines):
    """Leave out what is logged only if the kernel timer leaves the time: on a busy machine it may not."""
    return {line for line in lines if "is not released" not in line}


def test_excerpt_for_a_long_outage_matches_the_log(behind, proxy, level):
    helper = behind.helper("0")
    proxy.refuse()
    helper.wait_exit()
    behind.helper("2").wait_exit()
    last = behind.helper()
    wait_until(lambda: last.stderr, "a line after the first round")
    proxy.forward()
    wait_until(lambda: "answers again" in last.stderr, "an answer")
    assert last.status() == "0"
    assert surely(behind.logged()) == surely(excerpt("away", level))


def test_excerpt_for_a_holder_cut_off_matches_the_log(behind, node, proxy, level, elsewhere, elected):
    helper = behind.holder()
    elsewhere()
    proxy.freeze()
    helper.wait_exit()
    node.holder()
    taken = excerpt("taken", level)
    assert surely(behind.logged() | node.logged()) - taken == surely(excerpt("cut", level)) - taken


def test_excerpt_for_a_follower_cut_off_matches_the_log(behind, silent, proxy, level):
    silent.helper("0")
    proxy.freeze()
    behind.helper("2").wait_exit()
    assert behind.logged() == excerpt("follower", level)
