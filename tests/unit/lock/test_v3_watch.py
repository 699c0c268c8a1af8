# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of what the v3 lock watches: the deletion of its own key, after the last look at it."""

from __future__ import annotations

import pytest

from tests.support.fake_v3 import decoded
from tests.support.rigs import RigV3


@pytest.fixture
def rig(monkeypatch):
    return RigV3(monkeypatch)


def test_watch_is_for_deletion_of_our_key_after_its_revision(rig):
    rig.take()
    (name,) = rig.etcd.keys
    assert rig.lock.changes(rig.clock.now + 0.5) == {7: 1}
    ((body, until),) = rig.gateway.watched
    assert until == rig.clock.now + 0.5 and decoded(body["key"]) == name
    assert (body["start_revision"], body["filters"]) == (rig.etcd.revision + 1, ["NOPUT"])


def test_watch_begins_after_the_last_look_at_the_key(rig):
    rig.take()
    rig.etcd.revision += 10
    rig.lock.refresh(rig.clock.now + 4)
    rig.lock.changes(rig.clock.now + 0.5)
    ((body, _),) = rig.gateway.watched
    assert body["start_revision"] == rig.etcd.revision + 1
