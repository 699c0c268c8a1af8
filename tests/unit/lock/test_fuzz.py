# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Whatever comes from etcd, or stands in the lock: a lease, contention, or one known error."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest

from ctdb_etcd import __version__
from ctdb_etcd.errors import Contended, LeaseExists, LeaseNotFound, LockError, Refused, Unavailable
from ctdb_etcd.fence import Grant
from ctdb_etcd.lock import v3
from ctdb_etcd.log import Log
from ctdb_etcd.lock.holder import describe, proof
from ctdb_etcd.lock.takeover import Contender, NonceFile, Rival
from tests.support.fuzz import JSON, NUMBERS, examples, given, st

LONGEST = 9_000_000_000  # s: lease.MaxLeaseTTL in etcd
LEASE = "TTL ID result header kvs responses response_range succeeded create_revision key value lease".split()
ANSWERS = st.recursive(
    st.one_of(NUMBERS, st.none(), st.booleans(), st.text(max_size=6), st.sampled_from(["a2V5", "=", "\u00e9"])),
    lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(st.sampled_from(LEASE), part, max_size=4)),
    max_leaves=10,
)
TTLS = st.one_of(st.integers(1, 9), NUMBERS)
TAKEN = st.just({"succeeded": True, "header": {"revision": "7"}})
OUTCOMES = st.one_of(
    st.dictionaries(st.sampled_from(LEASE), ANSWERS, max_size=4),
    st.just({}),
    TTLS.map(lambda ttl: {"TTL": ttl}),
    TTLS.map(lambda ttl: {"result": {"TTL": ttl}}),
    TAKEN,
    st.sampled_from([LeaseExists(""), LeaseNotFound(""), Unavailable(""), Refused("")]),
)


class Answers:
    """A gateway that gives these answers, then none."""

    def __init__(self, outcomes):
        self.outcomes = list(outcomes)

    def call(self, path, body, deadline):
        outcome = self.outcomes.pop(0) if self.outcomes else Unavailable("no answer is left")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Hasty:
    """A Waiter that never waits."""

    def check(self):
        pass

    def wait(self, events, deadline):
        raise TimeoutError


@examples(300)
@given(
    st.one_of(
        st.lists(OUTCOMES, max_size=8),
        st.tuples(st.just({}), TTLS.map(lambda ttl: {"TTL": ttl}), TAKEN, OUTCOMES, OUTCOMES),
    )
)
def test_any_answers_are_a_lease_or_a_known_error(outcomes):
    me = SimpleNamespace(begin=lambda: None, text=lambda: "me")
    contender = Contender(me, NonceFile("X", "a nonce"), True, time.monotonic() + 1, Hasty(), Log())
    lock = v3.Lock(Answers(outcomes), "/_locks/_ctdb/X/", 9, Log())
    for operation in lock.look, lock.take, lock.refresh, lock.release:
        who = [contender] if operation in (lock.look, lock.take) else []
        try:
            grant = operation(*who, time.monotonic() + 1)
        except LockError:
            continue
        if operation in (lock.take, lock.refresh):
            assert isinstance(grant, Grant) and 0 < grant.ttl <= LONGEST


WHO = "version pid start_time boot_id pid_namespace time_namespace nonce lock_ttl refresh".split()


@examples(250)
@given(st.dictionaries(st.sampled_from(WHO), st.one_of(JSON, NUMBERS)), st.one_of(NUMBERS, st.none()), st.booleans())
def test_whoever_is_in_front_is_contended_unless_proven_dead(fields, left, known):
    true = {**proof("a nonce"), "version": __version__, "lock_ttl": 9, "refresh": 2} if known else {}
    contender = Contender(None, NonceFile("X", "a nonce"), True, time.monotonic() + 1, Hasty(), Log())
    rival = Rival(json.dumps({**true, **fields}, default=str), lambda deadline: left)
    with pytest.raises(Contended):
        contender.contend(lambda deadline: rival, time.monotonic() + 0.01)


@examples(300)
@given(st.one_of(st.text(max_size=60), JSON.map(json.dumps), st.integers(1, 200000).map("[".__mul__)))
def test_any_value_of_the_lock_is_described(value):
    assert isinstance(describe(value), str)
