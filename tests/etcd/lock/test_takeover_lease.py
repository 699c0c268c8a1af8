# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of takeover at the end of an unrenewed lease: only a helper that CTDB's recovery daemon runs waits for it."""

from __future__ import annotations

import time

import pytest

from tests.support import kinds
from tests.support.helper import Helper, contend, crash
from tests.support.machine import wait_until

TTL, REFRESH = 9, 2
kind, etcd, conf, keys = kinds.kind, kinds.etcd, kinds.conf, kinds.keys


@pytest.mark.slow
def test_elected_leader_waits_for_the_end_of_an_unrenewed_lease(conf, nonce_file, elected):
    with Helper(conf()) as holder:
        crash(holder, nonce_file, elsewhere=True)
        died = time.monotonic()
        # About when CTDB elects again.
        time.sleep(6.5)
        with Helper(conf(acquire_timeout=15), "-v") as successor:
            assert successor.status() == "0", successor.describe()
            assert "waiting for the end of a lease" in successor.stderr
            assert TTL - REFRESH - 1 < successor.first_byte - died < TTL + 6


@pytest.mark.slow
def test_lease_renewed_while_it_is_waited_for_is_contention(conf, nonce_file, elected):
    longer = conf(lock_ttl=12, acquire_timeout=15)
    with Helper(longer) as holder:
        assert holder.status() == "0"
        # Between two renewals: 5 s later the fence, due 11 s after the last renewal, has not ended the holder.
        time.sleep(1.5 * REFRESH)
        holder.stop()
        time.sleep(5)
        with Helper(longer, "-v") as waiting:
            wait_until(lambda: "waiting for the end of a lease" in waiting.stderr, "it to wait")
            assert not waiting.output
            holder.cont()
            continued = time.monotonic()
            assert waiting.status() == "1" and waiting.first_byte - continued < 4
            assert holder.alive


@pytest.mark.slow
def test_one_of_4_helpers_waiting_for_a_lease_gets_the_lock(conf, keys, nonce_file, elected):
    with Helper(conf()) as holder:
        crash(holder, nonce_file, elsewhere=True)
        time.sleep(6.5)
        # The helpers wait in shells first, but their parent is this process, and they see its name.
        with contend(4, lambda _: conf(acquire_timeout=15), "-v") as helpers:
            answers = sorted(helper.stdout for helper in helpers)
            assert answers == [b"0"] + [b"1"] * 3, [helper.describe() for helper in helpers]
            assert all("waiting for the end of a lease" in helper.stderr for helper in helpers)
            for helper in helpers:
                helper.terminate()
                helper.wait_exit()
    assert not keys()


@pytest.mark.slow
def test_a_lease_that_cannot_end_in_time_is_contention_at_once(conf, nonce_file, elected):
    with Helper(conf(lock_ttl=40)) as holder:
        crash(holder, nonce_file, elsewhere=True)
        time.sleep(6.5)
        with Helper(conf(lock_ttl=40), "-v") as contender:
            assert contender.status() == "1" and contender.answered_after < 10
            contender.wait_exit()
            assert "waiting" not in contender.stderr


@pytest.mark.slow
def test_sigterm_ends_the_wait_for_a_lease_at_once(conf, nonce_file, elected):
    with Helper(conf(lock_ttl=20)) as holder:
        crash(holder, nonce_file, elsewhere=True)
        time.sleep(6.5)
        with Helper(conf(lock_ttl=20), "-v") as waiting:
            wait_until(lambda: "waiting for the end of a lease" in waiting.stderr, "it to wait")
            waiting.terminate()
            asked = time.monotonic()
            assert waiting.wait_exit() - asked < 5 and not waiting.output


@pytest.mark.slow
def test_check_of_a_recovery_does_not_wait(conf, nonce_file):
    with Helper(conf()) as holder:
        crash(holder, nonce_file, elsewhere=True)
        time.sleep(6.5)
        with Helper(conf(), "-v") as check:
            assert check.status() == "1"
            check.wait_exit()
            assert "waiting" not in check.stderr


@pytest.mark.parametrize("kind", [kinds.KINDS["v3"]], ids=["v3"])
def test_check_with_a_live_holder_is_one_request_and_an_election_two(request, conf, nonce_file):
    with Helper(conf()) as holder:
        assert holder.status() == "0"
        for requests in (["kv/range"], ["kv/range", "lease/timetolive"]):
            with Helper(conf(), "-vv") as contender:
                assert contender.status() == "1"
                contender.wait_exit()
                lines = contender.stderr.splitlines()
                assert [line.split(": ")[2] for line in lines if " 200 from " in line] == requests
            if len(requests) == 1:
                request.getfixturevalue("elected")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kinds.KINDS["v3"]], ids=["v3"])
def test_a_holder_with_another_refresh_is_not_waited_for(etcd, conf, lock_name, elected):
    # etcdctl renews every third of its lease. A holder with a longer refresh in its file shows that in its value.
    with etcd.lock_process(f"/_locks/_ctdb/{lock_name}", ttl=6) as other:
        other.wait_acquired()
        for _ in range(5):
            with Helper(conf(), "-v") as helper:
                assert helper.status() == "1"
                assert "waiting" not in helper.stderr
            time.sleep(0.5)
        other.release()
    with Helper(conf(refresh=5, read_timeout=1)) as holder:
        assert holder.status() == "0"
        time.sleep(4)
        with Helper(conf(), "-v") as helper:
            assert helper.status() == "1"
            assert "waiting" not in helper.stderr
