# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of one_etcd.py: which answers of the endpoints let the lock be held. Most waits are real and short."""

from __future__ import annotations

import os
import select
import threading

import pytest

from ctdb_etcd.client.http1 import HttpError
from ctdb_etcd.errors import GrpcOnly, PermissionDenied, Refused, Stopped, Unavailable
from ctdb_etcd.lock import one_etcd
from ctdb_etcd.waiting import Patient
from tests.support.fake_endpoints import OURS, THEIRS, Etcd, refusal
from tests.support.fakes import Clock, Waiter


# One etcd


def test_single_endpoint_is_not_queried():
    etcd = Etcd()
    etcd.confirm()
    assert etcd.asked == []


def test_endpoints_where_the_key_is_known_are_one_etcd():
    etcd = Etcd((OURS, True), (OURS, True))
    etcd.confirm()
    assert sorted(etcd.asked) == ["b", "c"] and etcd.log.lines == []


SILENCE = [OSError(111, "refused"), HttpError("x"), Unavailable("x"), Refused("x"), GrpcOnly(), PermissionDenied("x")]


@pytest.mark.parametrize("silence", SILENCE)
def test_endpoint_without_an_answer_is_logged_and_not_refused(silence):
    etcd = Etcd(silence, (OURS, True))
    etcd.confirm()
    (line,) = etcd.log.lines
    assert line.startswith("info: b is not known to be of the same etcd cluster: ")


def test_endpoints_of_different_clusters_are_refused_and_listed():
    etcd = Etcd((OURS, True), (THEIRS, False), OSError(111, "refused"), (THEIRS, False))
    text = refusal(etcd)
    assert text == "the endpoints are of different etcd clusters: a, b of cluster a; c, e of cluster b: check host"


def test_separate_etcds_with_the_same_cluster_id_are_refused():
    text = refusal(Etcd((OURS, True), (OURS, False)))
    assert "what a has stored is not known at c, though all say that they are of cluster a" in text
    assert text.endswith("check host")


def test_unknown_cluster_id_differs_from_all_others():
    etcd = Etcd((OURS, True))
    etcd.cluster = None
    assert "a of cluster 0; b of cluster a" in refusal(etcd)


def test_all_endpoints_are_queried_at_the_same_time(monkeypatch):
    together = threading.Barrier(3)

    def answer(until):
        together.wait(10)
        return OURS, True

    monkeypatch.setattr(one_etcd, "_ANSWER_TIME", 10)
    etcd = Etcd(answer, answer, answer)
    etcd.confirm()
    assert etcd.log.lines == []


@pytest.mark.parametrize("answer_time, seconds", [(1, 10), (10, 1)])
def test_silent_endpoints_are_skipped_and_the_others_count(monkeypatch, answer_time, seconds):
    monkeypatch.setattr(one_etcd, "_ANSWER_TIME", answer_time)
    clock, closed = Clock(monkeypatch), []

    class LastAnswer(Waiter):
        """Waits on the clock for the silent endpoints, then in real time for the one that answers."""

        def wait(self, events, deadline):
            if len(closed) < 2:
                return super().wait(events, deadline)
            return set(select.select(list(events), [], [], 20)[0])

    monkeypatch.setattr(one_etcd.Task, "leave", lambda task: closed.append(os.close(task.done)))
    released = threading.Event()
    silent = lambda until: released.wait(20) and (OURS, True)  # noqa: E731
    etcd = Etcd(silent, silent, (THEIRS, False))
    etcd.waiter = LastAnswer(clock)
    began = clock.now
    with pytest.raises(Refused, match="a of cluster a; d of cluster b"):
        etcd.confirm(seconds)
    assert clock.now == began + 1
    assert [line for line in etcd.log.lines if line.endswith("no answer in time")] == [
        f"info: {name} is not known to be of the same etcd cluster: no answer in time" for name in "bc"
    ]
    assert len(closed) == 2
    released.set()


def test_a_stop_ends_the_wait():
    released = threading.Event()
    etcd = Etcd(lambda until: released.wait(20) and (OURS, True))

    class Stopping(Patient):
        def wait(self, events, deadline):
            raise Stopped("SIGTERM")

    etcd.waiter = Stopping()
    with pytest.raises(Stopped):
        etcd.confirm()
    released.set()


def test_thread_that_cannot_be_started_fails_only_its_endpoint(monkeypatch):
    def fails(function):
        raise OSError(11, "no thread can be started")

    monkeypatch.setattr(one_etcd, "Task", fails)
    etcd = Etcd((THEIRS, False))
    etcd.confirm()
    assert etcd.log.lines == ["info: b is not known to be of the same etcd cluster: no thread can be started"]


def test_confirmation_leaves_no_descriptor_open(monkeypatch):
    before = len(os.listdir("/proc/self/fd"))
    Etcd((OURS, True), OSError(111, "refused"), (OURS, True)).confirm()
    # Threads left by earlier tests can close their descriptors at any time.
    assert len(os.listdir("/proc/self/fd")) <= before


# Shared by all nodes


LOCAL = [
    ["http://localhost:2379"],
    ["http://127.0.0.1:2379", "https://127.1.2.3:4001"],
    ["http://[::1]:2379"],
    ["http://0.0.0.0:2379", "http://[::]:2379"],
    ["unix://localhost:1234"],
    ["unix:///run/etcd.sock"],
    ["http://LOCALHOST:2379/"],
]


@pytest.mark.parametrize("used", ["127.0.0.1", "127.0.23.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("urls", LOCAL)
def test_etcd_of_this_machine_alone_is_refused_if_others_take_part(used, urls):
    etcd = Etcd()
    etcd.used, etcd.lists, etcd.other = used, [urls], "198.51.100.1 (in /etc/ctdb/nodes)"
    text = refusal(etcd)
    assert "198.51.100.1 (in /etc/ctdb/nodes) takes part" in text and urls[0] in text and "set host" in text


def test_members_are_not_requested_without_other_machines():
    etcd = Etcd()
    etcd.confirm()
    assert etcd.asked == []


def test_endpoint_on_another_machine_is_not_queried_for_members():
    etcd = Etcd()
    etcd.used, etcd.other = "198.51.100.9", "198.51.100.1"
    etcd.confirm()
    assert etcd.asked == []


@pytest.mark.parametrize(
    "lists",
    [
        [["http://etcd1:2379"]],
        [["http://localhost:2379", "http://198.51.100.9:2379"]],
        [["http://localhost:2379"], ["http://localhost:2379"]],
        [["http://127x.example:2379"]],
        # A member that has not published an address yet.
        [[]],
        [],
    ],
)
def test_etcd_that_others_can_reach_or_that_has_other_members_is_shared(lists):
    etcd = Etcd()
    etcd.lists, etcd.other = lists, "198.51.100.1"
    etcd.confirm()
    assert etcd.asked == ["members"]


def test_etcd_that_shows_no_members_is_used_with_a_line_in_the_log():
    etcd = Etcd()
    etcd.lists, etcd.other = PermissionDenied("permission denied"), "198.51.100.1"
    etcd.confirm()
    (line,) = etcd.log.lines
    assert line.startswith("error: a does not let us list its members")


def test_lock_is_not_held_if_the_members_cannot_be_read():
    etcd = Etcd()
    etcd.lists, etcd.other = Unavailable("no answer"), "198.51.100.1"
    with pytest.raises(Unavailable):
        etcd.confirm()
