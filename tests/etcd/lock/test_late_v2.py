# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of v2 requests that a member of etcd keeps while it has no leader, and applies late with their first end."""

from __future__ import annotations

import threading
import time

import pytest

from tests.support import release
from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.machine import wait_until
from tests.support.proxy import Proxy

pytestmark = [pytest.mark.v2, pytest.mark.slow]

TTL = 20
# Seconds for which etcd keeps a request.
KEPT = 7


@pytest.fixture
def etcd():
    with Etcd(3, release.v2_flags()) as etcd:
        yield etcd


class Isolated:
    """A member that has no leader, received one request, and is paused; the others are healthy."""

    def __init__(self, etcd):
        self.leader = etcd.leader()
        self.member = next(member for member in etcd.members if member is not self.leader)
        self.others = [member for member in etcd.members if member is not self.member]

    def part(self):
        for other in self.others:
            other.pause()
        wait_until(self._has_no_leader, "no leader")

    def _has_no_leader(self):
        own, leader = self.member.ids()
        return own and leader in ("", "0")

    def keep(self):
        """Let the member keep what it has received, and the others go on without it."""
        self.member.pause()
        for other in self.others:
            other.resume()


def put(member, query, timeout=12):
    return member.request("PUT", f"/v2/keys/x?value=v&ttl={TTL}&prevValue=v{query}", timeout)


@pytest.mark.parametrize("compared, effect", [(False, True), (True, False)], ids=["by value", "by index too"])
def test_etcd_applies_a_late_renewal_with_the_end_it_first_gave_it(etcd, compared, effect):
    made = etcd.leader().request("PUT", f"/v2/keys/x?value=v&ttl={TTL}", 10)["node"]
    query = f"&prevIndex={made['modifiedIndex']}" if compared else ""
    isolated = Isolated(etcd)
    isolated.part()
    late = []
    thread = threading.Thread(target=lambda: late.append(put(isolated.member, query)))
    thread.start()
    time.sleep(0.3)
    isolated.keep()
    time.sleep(1)
    renewed = put(isolated.leader, query)["node"]
    isolated.member.resume()
    thread.join()
    if effect:
        assert late[0]["node"]["expiration"] < renewed["expiration"]
    else:
        assert late[0]["message"] == "Compare failed"


def test_no_late_renewal_shortens_the_lease_of_a_holder(etcd, helper_conf, lock_name):
    isolated = Isolated(etcd)
    with Proxy(isolated.member.endpoint) as proxy:
        hosts = [proxy.endpoint, isolated.leader.endpoint]
        conf = helper_conf(host=hosts, api="2", lock_ttl=TTL, refresh=6, read_timeout=1)
        with Helper(conf, "-vv") as helper:
            assert helper.status() == "0", helper.describe()
            first = node(isolated.leader, lock_name)
            time.sleep(2)
            isolated.part()
            swaps = lambda: [line for _, line in proxy.seen().requests if line.startswith("PUT")]  # noqa: E731
            wait_until(swaps, "a renewal at the member without a leader")
            isolated.keep()
            index = lambda: node(isolated.leader, lock_name)["modifiedIndex"]  # noqa: E731
            wait_until(lambda: index() > first["modifiedIndex"], "a renewal")
            renewed = node(isolated.leader, lock_name)
            isolated.member.resume()
            until = time.monotonic() + KEPT
            while time.monotonic() < until:
                found = node(isolated.leader, lock_name)
                assert found["expiration"] >= renewed["expiration"], helper.describe()
                renewed = found
                time.sleep(0.1)
            assert helper.alive, helper.describe()


def test_key_made_late_is_renewed_before_it_is_held(etcd, helper_conf, lock_name):
    isolated = Isolated(etcd)
    with Proxy(isolated.member.endpoint) as first, Proxy(isolated.leader.endpoint) as second:
        second.hold_next_request(b"POST /v2/keys")
        conf = helper_conf(host=[first.endpoint, second.endpoint], api="2", lock_ttl=TTL, refresh=6, read_timeout=3)
        isolated.part()
        # Without a leader the member could not say so.
        first.answer_with(404, b'{"errorCode": 100, "message": "Key not found"}', matching=b"GET /v2/keys")
        with Helper(conf, "-vv") as helper:
            wait_until(lambda: any("POST" in line for _, line in first.seen().requests), "the first append")
            time.sleep(0.3)
            isolated.keep()
            # The helper gives up the first append, reads that there is no key, and makes another.
            second.wait_held()
            isolated.member.resume()
            wait_until(lambda: keys_of(isolated.leader, lock_name), "the key of the first append")
            first.forward()
            second.release()
            assert helper.status() == "0", helper.describe()
            held = node(isolated.leader, lock_name)
            assert held["modifiedIndex"] > held["createdIndex"], helper.describe()


def keys_of(member, lock_name):
    answer = member.request("GET", f"/v2/keys/_locks/_ctdb/{lock_name}?quorum=true&recursive=true&sorted=true", 10)
    return answer.get("node", {}).get("nodes", [])


def node(member, lock_name):
    """The holder's key."""
    (found,) = keys_of(member, lock_name)
    return found
