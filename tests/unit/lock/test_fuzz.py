# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Fuzz tests of both locks: any answer of etcd and any value in the lock give a grant, contention or a known error."""

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
from ctdb_etcd.lock.holder import Holder, Key, describe, proof, read
from ctdb_etcd.lock.takeover import Contender, NonceFile
from ctdb_etcd.report import lock_keys, text
from ctdb_etcd.report.status import OK, WARNING, Status
from tests.support.conf import parse
from tests.support.fakes import Clock, Waiter
from tests.support.fuzz import JSON, NUMBERS, examples, given, st

etcd = pytest.importorskip("etcd", reason="python3-etcd is not installed")

from ctdb_etcd.client import v2 as client_v2  # noqa: E402
from ctdb_etcd.client.v2_http import Answer  # noqa: E402
from ctdb_etcd.lock import v2  # noqa: E402

LONGEST = 9_000_000_000  # seconds; lease.MaxLeaseTTL in etcd
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
    """A gateway that returns these answers and then none."""

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
def test_any_answers_give_a_lease_or_a_known_error(outcomes):
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


OURS = Holder(9, 2.0, "a nonce", lambda: lambda: 3).text()
WHO = "node pnn since version pid start_time boot_id pid_namespace time_namespace nonce lock_ttl refresh".split()


@examples(250)
@given(
    st.dictionaries(st.sampled_from(WHO), st.one_of(JSON, NUMBERS)), st.integers(-(2**63), 2**63 - 1), st.booleans()
)
def test_rival_not_proven_dead_is_contention_whatever_its_value(fields, left, known):
    true = {**proof("a nonce"), "version": __version__, "lock_ttl": 9, "refresh": 2} if known else {}
    rival = Key("", json.dumps({**true, **fields}, default=str), 1, 1)
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Contended):
        clock = Clock(monkeypatch)
        contender = Contender(None, NonceFile("X", "a nonce"), True, clock.now + 4, Waiter(clock), Log())
        contender.contend(lambda deadline: rival, lambda key, deadline: left, clock.now + 4)


VALUES = st.one_of(
    st.text(max_size=60),
    JSON.map(json.dumps),
    st.integers(1, 200000).map("[".__mul__),
    # Like a value of Samba's helper.
    st.integers(1, 5000).map(lambda digits: f"{'a' * 32}_{'9' * digits}"),
    # Our value with some of its fields replaced.
    st.dictionaries(st.sampled_from(WHO), st.one_of(JSON, NUMBERS, st.just(10**400))).map(
        lambda fields: json.dumps({**json.loads(OURS), **fields})
    ),
)


@examples(500)
@given(VALUES)
def test_fields_read_from_any_value_of_the_lock_have_valid_types(value):
    assert isinstance(describe(value), str)
    who = read(value)
    texts = {who[field] for field in ("node", "since", "version", "boot_id", "nonce") if field in who}
    assert all(type(text) is str for text in texts)
    numbers = {who[field] for field in ("pid", "start_time", "pid_namespace", "time_namespace") if field in who}
    assert all(type(number) is int and 0 <= number < 2**63 for number in numbers)
    assert who.get("pnn") is None or 0 <= who["pnn"] < 2**63
    assert 0 < who.get("lock_ttl", 9) - min(who.get("refresh", 2), 0) < 1e6


@examples(300)
@given(st.lists(VALUES, min_size=1, max_size=3), st.sampled_from(["3", "2"]))
def test_report_shows_any_values_of_the_lock(values, api):
    status = Status("the.conf", Log())
    status.report["lock"] = {"path": "/l/", "api": "auto", "name_from": "netbios_name"}
    status._read = True
    keys = [Key(f"/l/{number}", value, 1, 1, 7, 5) for number, value in enumerate(values)]
    status._name_holder([[lock_keys.describe(key, api, time.time()) for key in keys] for _ in range(2)])
    assert status.verdict() in (OK, WARNING)
    shown = text.status(status.report)
    assert "/l/ is held by " in shown and "\033" not in shown and "\r" not in shown
    json.dumps(status.report).encode()


class V2:
    """The real v2 client on python-etcd, whose HTTP layer returns these answers and then none."""

    def __init__(self, monkeypatch, answers):
        clock = Clock(monkeypatch)
        self.answers, self.waiter = list(answers), Waiter(clock)
        endpoints = SimpleNamespace(
            config=parse("host = a"),
            waiter=self.waiter,
            log=Log(),
            find=lambda until: None,
            names=lambda: ["a"],
            doubt=lambda endpoint: None,
            failed=lambda: None,
            explain=lambda error, *_: error,
        )
        self.client = client_v2.Client(endpoints)
        self.client._clients["a"] = PYTHON_ETCD
        PYTHON_ETCD.http = self
        self.deadline = clock.now + 1

    def begin(self, *_):
        pass

    clear = begin

    def request(self, *_, **__):
        if not self.answers:
            raise ConnectionResetError
        return Answer(*self.answers.pop(0), {})

    request_encode_body = request


PYTHON_ETCD = etcd.Client()
PYTHON_ETCD.http = None
NODE = "key value dir nodes ttl createdIndex modifiedIndex expiration".split()
NODES = st.recursive(
    st.one_of(NUMBERS, st.just(10**400), st.none(), st.booleans(), st.text(max_size=6), st.just("me")),
    lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(st.sampled_from(NODE), part, max_size=6)),
    max_leaves=12,
)
WHOLE = st.fixed_dictionaries(
    {"key": st.just("/l/1"), "value": st.sampled_from(["me", "them"]), "ttl": st.one_of(NUMBERS, st.just(9))},
    optional={"createdIndex": st.one_of(st.just(7), NUMBERS), "modifiedIndex": st.just(7), "dir": st.booleans()},
)
BODIES = st.one_of(
    NODES.map(lambda node: {"action": "get", "node": node}),
    WHOLE.map(lambda node: {"action": "get", "node": node}),
    st.lists(WHOLE, max_size=3).map(lambda nodes: {"node": {"key": "/l", "dir": True, "nodes": nodes}}),
    NODES,
    st.sampled_from([{"errorCode": code, "message": "x", "cause": "x", "index": 1} for code in (100, 101, 110, 300)]),
)


ANSWERS_V2 = st.tuples(st.sampled_from([200, 201, 404, 412, 500]), BODIES.map(json.dumps).map(str.encode))


@examples(300)
@given(st.lists(ANSWERS_V2, max_size=8))
def test_any_answers_of_the_v2_api_give_a_lease_or_a_known_error(answers):
    with pytest.MonkeyPatch.context() as monkeypatch:
        rig = V2(monkeypatch, answers)
        me = SimpleNamespace(begin=lambda: None, text=lambda: "me")
        contender = Contender(me, NonceFile("X", "a nonce"), True, rig.deadline, rig.waiter, Log())
        lock = v2.Lock(rig.client, "/l/", 9, Log())
        for verb in "look", "take", "refresh", "keys", "release":
            arguments = {"look": [contender], "take": [contender], "keys": []}.get(verb, [])
            try:
                outcome = getattr(lock, verb)(*arguments, rig.deadline, *([9] if verb == "keys" else []))
            except LockError:
                continue
            if verb in ("take", "refresh"):
                assert isinstance(outcome, Grant) and outcome.ttl <= LONGEST and isinstance(outcome.usable(), float)
