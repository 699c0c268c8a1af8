# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Whatever is in the file, comes from etcd or from testparm: one of the known outcomes, in time, and no other.

Hypothesis draws the same examples in every run.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctdb_etcd import __version__, config, identity
from ctdb_etcd.answers import LeaseExists, LeaseNotFound, understand
from ctdb_etcd.fence import Grant
from ctdb_etcd.endpoints import Endpoints
from ctdb_etcd.gateway import Gateway
from ctdb_etcd.lock import Contended, LockError, Refused, Unavailable
from ctdb_etcd.lock_v3 import LockV3
from ctdb_etcd.log import Log
from ctdb_etcd.proof import Witness, passport
from ctdb_etcd.takeover import Rival, Takeover
from tests.support.helper import Helper


def examples(count):
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


# The file.

KEYS = st.sampled_from([*config.SPEC, "lock_refresh", "[section]", "#", ""])
VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["'", '"', "'''", '"""', "1,", ",", "[::1]:1", "nan", "inf", "-1", "1e9", "9" * 400, "%(x)s", "$x"]
    ),
)
LINES = st.lists(st.one_of(st.tuples(KEYS, VALUES).map(" = ".join), st.text(max_size=40)), max_size=8)


def is_refused_or_a_config(data):
    try:
        settings = config.parse("the.conf", data)
    except Refused as refusal:
        for line in str(refusal).splitlines():
            assert line.startswith("the.conf: ")
    else:
        assert settings.hosts and 3 <= settings.lock_ttl <= 3600


@examples(400)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_file_that_is_good_or_refused(data):
    is_refused_or_a_config(data)


@examples(800)
@given(LINES)
def test_any_lines_are_a_file_that_is_good_or_refused(lines):
    is_refused_or_a_config("\n".join(lines).encode("utf-8", "surrogatepass"))


# testparm, and what somebody has written into the lock.


@examples(500)
@given(
    st.one_of(st.just(0), st.integers(-64, 255)),
    st.one_of(st.text(max_size=80), st.text("ABC-.\n /", max_size=70)),
    st.one_of(st.text(max_size=80), st.text(max_size=80).map("Load smb config files from /nowhere/{}\n".format)),
)
def test_any_answer_of_testparm_is_a_name_or_refused(status, out, err):
    command = SimpleNamespace(output=lambda waiter: (status, out, err))
    try:
        name = identity.name_from(command, None)
    except (Refused, Unavailable) as failure:
        assert "netbios_name" in str(failure)
    else:
        assert identity.check_name(name) == name


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("9" * 5000)),
    lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(st.text(max_size=5), part, max_size=3)),
    max_leaves=8,
)


@examples(300)
@given(st.one_of(st.text(max_size=60), JSON.map(json.dumps), st.integers(1, 200000).map("[".__mul__)))
def test_any_value_of_the_lock_is_described(value):
    assert isinstance(identity.describe(value), str)


# etcd.


@examples(500)
@given(
    st.sampled_from([200, 200, 400, 401, 403, 404, 500, 503]),
    st.one_of(st.binary(max_size=60), JSON.map(json.dumps).map(str.encode), st.just(b"[" * 100000)),
)
def test_any_answer_is_an_object_or_a_known_error(status, body):
    try:
        assert isinstance(understand(status, body), dict)
    except LockError:
        pass


LONGEST = 9_000_000_000  # s: lease.MaxLeaseTTL in etcd
LEASE = "TTL ID result header kvs responses response_range succeeded create_revision key value lease".split()
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-3, 12).map(str),
    st.sampled_from([float("inf"), float("nan"), "x", "9" * 99]),
)
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


@examples(600)
@given(
    st.one_of(
        st.lists(OUTCOMES, max_size=8),
        st.tuples(st.just({}), TTLS.map(lambda ttl: {"TTL": ttl}), TAKEN, OUTCOMES, OUTCOMES),
    )
)
def test_any_answers_are_a_lease_or_a_known_error(outcomes):
    me = SimpleNamespace(begin=lambda: None, text=lambda: "me")
    takeover = Takeover(Witness("X", "a nonce"), True, Hasty(), Log())
    lock = LockV3(Answers(outcomes), "/_locks/_ctdb/X/", 9, me, takeover, Log())
    for operation in lock.look, lock.take, lock.refresh, lock.release:
        try:
            grant = operation(time.monotonic() + 1)
        except LockError:
            continue
        if operation in (lock.take, lock.refresh):
            assert isinstance(grant, Grant) and 0 < grant.ttl <= LONGEST


WHO = "version pid start_time boot_id pid_namespace time_namespace nonce lock_ttl refresh".split()


@examples(500)
@given(st.dictionaries(st.sampled_from(WHO), st.one_of(JSON, NUMBERS)), st.one_of(NUMBERS, st.none()), st.booleans())
def test_whoever_is_in_front_is_contended_unless_proven_dead(fields, left, known):
    true = {**passport("a nonce"), "version": __version__, "lock_ttl": 9, "refresh": 2} if known else {}
    takeover = Takeover(Witness("X", "a nonce"), True, Hasty(), Log())
    rival = Rival(json.dumps({**true, **fields}, default=str), lambda: left)
    with pytest.raises(Contended):
        takeover.contend(lambda: rival, time.monotonic() + 0.01)


# The wire.

CHUNKS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK\r\n",
                b"HTTP/1.1 404 Not Found\r\n",
                b"HTTP/1.1 100 Continue\r\n\r\n",
                b"HTTP/1.1 999999999999999999999 x\r\n",
                b"Content-Length: 9999999999\r\n",
                b"Content-Length: -1\r\n",
                b"Content-Length: 2\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"\r\n",
                b"{}",
                b"-1\r\n",
                b"ffffffffffffffffffffff\r\n",
                b'{"kvs":[{"value":"%s"}]}' % (b"A" * 100000),
                b"x: " + b"y" * 70000,
                b"a: b\r\n" * 200,
            ]
        ),
    ),
    max_size=7,
)


class Server:
    """Sends the same chunks to whoever connects, a moment apart, and then closes (`rude`: or keeps silent)."""

    def __init__(self):
        self.chunks, self.rude = [], False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client, list(self.chunks), self.rude), daemon=True).start()

    def _answer(self, client, chunks, rude):
        with client:
            client.settimeout(2)
            try:
                client.recv(65536)
                for chunk in chunks:
                    client.sendall(chunk)
                    time.sleep(0.002)
                if rude:
                    time.sleep(2)
            except OSError:
                pass

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


class Waiter:
    """As lock.Waiter; nothing ends it."""

    def check(self):
        pass

    def wait(self, events, deadline):
        poll = select.poll()
        for fd, event in events.items():
            poll.register(fd, event)
        ready = {fd for fd, _ in poll.poll(max(0, int((deadline - time.monotonic()) * 1000 + 0.999)))}
        if not ready:
            raise TimeoutError
        return ready


@examples(60)
@given(CHUNKS, st.booleans())
def test_any_bytes_on_the_wire_end_by_the_deadline_in_a_known_way(server, chunks, rude):
    server.chunks, server.rude = chunks, rude
    settings = config.parse("the.conf", f"host = 127.0.0.1:{server.port}\n".encode())
    began = time.monotonic()
    try:
        gateway = Gateway(settings, Endpoints(settings, Waiter(), Log()), Waiter(), Log())
        assert isinstance(gateway.call("kv/range", {}, began + 0.2), dict)
    except LockError:
        pass
    assert time.monotonic() - began < 2


@pytest.mark.slow
@pytest.mark.parametrize("api", ["3", "2", "auto"])
@examples(8)
@given(CHUNKS, st.booleans())
def test_any_bytes_on_the_wire_give_ctdb_its_status(server, tmp_path, api, chunks, rude):
    server.chunks, server.rude = chunks, rude
    conf = tmp_path / "fuzz.conf"
    host = f"host = 127.0.0.1:{server.port}\n"
    conf.write_text(f"{host}api = {api}\nnetbios_name = X\nacquire_timeout = 1\nread_timeout = 0.4\n")
    with Helper(conf) as helper:
        status = helper.status(8)
        helper.wait_exit(3)
        assert helper.stdout == status.encode() and status in "123", helper.describe()
        assert "Traceback" not in helper.stderr and "this is a bug" not in helper.stderr, helper.describe()
