# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What the log says at each verbosity of a lock that is taken, held for a while and given back."""

from __future__ import annotations

import re
import time

import pytest

from harness.helper import Helper

pytestmark = [pytest.mark.etcd, pytest.mark.slow]


@pytest.fixture
def story(helper_conf):
    """The log's lines at the taking, in the steady state of three refreshes, and at the end."""

    def tell(*args):
        with Helper(helper_conf(refresh=0.5), *args) as helper:
            assert helper.status() == "0"
            time.sleep(0.3)
            taken = helper.stderr.splitlines()
            time.sleep(1.7)
            held = helper.stderr.splitlines()[len(taken) :]
            helper.terminate()
            helper.wait_exit()
            return taken, held, helper.stderr.splitlines()[len(taken) + len(held) :]

    return tell


def test_without_v_there_is_nothing_to_tell(story):
    assert story() == ([], [], [])


def test_at_v_taking_and_giving_back_are_a_line_each_with_lock_and_seconds_and_holding_is_silent(story, lock_name):
    (taken,), held, (released,) = story("-v")
    assert held == []
    assert re.search(rf"holding /_locks/_ctdb/{lock_name}/ .*taken in \d+\.\d+ s", taken)
    assert f"released /_locks/_ctdb/{lock_name}/" in released and "SIGTERM" in released


def test_at_vv_each_request_is_one_line_with_endpoint_and_seconds(story, etcd):
    _, held, _ = story("-vv")
    assert {line.split()[1] for line in held} == {"lease/keepalive:", "kv/range:"}
    assert all(re.search(rf"{etcd.endpoints[0]} in \d+\.\d+ s$", line) for line in held), held


def test_at_vvv_the_wire_is_shown(story):
    _, held, _ = story("-vvv")
    assert any("> POST /v3/lease/keepalive" in line for line in held) and any("< 200 {" in line for line in held)
