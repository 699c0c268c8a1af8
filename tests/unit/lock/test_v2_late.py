# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of v2 renewals that take effect late: a member without a leader keeps them until it has one."""

from __future__ import annotations

import pytest

from ctdb_etcd.errors import Unavailable
from tests.support.fake_wire import Fault
from tests.support.fakes import sent
from tests.support.rigs import RigV2

pytest.importorskip("etcd", reason="python3-etcd is not installed")

REFRESH = ["PUT", "GET"]


@pytest.fixture
def rig(monkeypatch):
    return RigV2(monkeypatch)


def test_renewal_whose_answer_was_lost_is_made_again_and_counts_from_then(rig):
    rig.held()
    rig.wire.fault("PUT", Fault(lost="back"))
    grant = rig.refresh()
    assert rig.wire.names == ["PUT", "GET", *REFRESH]
    assert sent(grant) == rig.asked("PUT")[1].sent[0]
    rig.refresh()
    assert rig.wire.names == ["PUT", "GET", *REFRESH * 2]


def apply_late(rig, request):
    """Let a renewal take effect that a member received when it was sent: it computed the key's end then."""
    age = rig.clock.now - request.sent[0]
    return rig.etcd.answer("PUT", request.body["key"], {**request.body, "ttl": request.body["ttl"] - age})[0]


@pytest.mark.parametrize("later", [True, False], ids=["with a later key", "alone"])
def test_key_made_late_by_an_earlier_append_counts_from_its_renewal(rig, later):
    def arrive():
        first = rig.asked("POST")[0]
        age = rig.clock.now - first.sent[0]
        rig.etcd.answer("POST", first.body["key"], {**first.body, "ttl": first.body["ttl"] - age})

    rig.wire.fault("POST", Fault(lost="out"), None if later else Fault(lost="out"))
    rig.wire.meanwhile("POST" if later else "GET", arrive)
    if not later:
        rig.wire.fault("GET", Fault())
    grant = rig.take()
    mine = next(iter(rig.etcd.keys))
    assert rig.etcd.left(mine) >= grant.left() and rig.values() == ["us"]
    assert sent(grant) == pytest.approx(rig.asked("PUT")[0].sent[0])


@pytest.fixture
def stuck(rig):
    """A renewal without an answer that has not taken effect yet."""
    rig.held()
    rig.wire.fault("PUT", Fault(lost="out"))
    with pytest.raises(Unavailable):
        rig.lock.refresh(rig.clock.now + 1)
    rig.clock.pass_(3)
    return rig.asked("PUT")[0]


def test_renewal_that_comes_after_a_later_one_does_not_shorten_the_lease(rig, stuck):
    grant = rig.refresh()
    assert apply_late(rig, stuck) == 412
    (name,) = rig.etcd.keys
    assert rig.etcd.left(name) >= grant.left()


def test_renewal_that_comes_before_the_next_one_is_made_again(rig, stuck):
    assert apply_late(rig, stuck) == 200
    grant = rig.refresh()
    (name,) = rig.etcd.keys
    assert rig.etcd.left(name) >= grant.left()
    assert sent(grant) == rig.asked("PUT")[-1].sent[0] and rig.wire.names == ["PUT", "PUT", "GET", *REFRESH]
    # The next one has the index of the last.
    rig.refresh()
    assert rig.wire.names[5:] == REFRESH


@pytest.mark.parametrize("times, renewed", [(2, True), (3, False)])
def test_renewal_is_made_three_times_before_it_fails(rig, times, renewed):
    rig.held()
    failed = Fault(effect=False, answer=(412, b'{"errorCode": 101, "message": "Compare failed"}'))
    rig.wire.fault("PUT", *[failed] * times)
    if renewed:
        assert sent(rig.refresh()) == rig.asked("PUT")[2].sent[0]
    else:
        with pytest.raises(Unavailable, match="its key changes all the time"):
            rig.refresh()
    assert len(rig.asked("PUT")) == 3
