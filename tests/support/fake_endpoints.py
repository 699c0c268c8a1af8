# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Endpoints of one etcd or of several, and the lock at one of them, with the answers that a test plans."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, Dict, List

import pytest

from ctdb_etcd.errors import Refused
from ctdb_etcd.lock import one_etcd
from ctdb_etcd.waiting import Patient

from .fakes import Log

OURS, THEIRS = 0xA, 0xB
HERE = "127.0.0.1"


class Etcd:
    """Endpoints a (in use), b, c... and the lock at a. `answers` has each one's answer to the query for our key."""

    endpoint = "a"
    cluster = OURS
    source = "host"

    def __init__(self, *answers: Any) -> None:
        self.answers: Dict[str, Any] = dict(zip("bcdef", answers), a=(OURS, True))
        self.used = HERE
        self.lists: Any = [["http://localhost:2379"]]
        self.other = ""
        self.asked: List[str] = []
        self.log = Log()
        self.waiter = Patient()

    def names(self) -> List[str]:
        return sorted(self.answers)

    def address(self, endpoint: str) -> str:
        assert endpoint == "a"
        return self.used

    def known_at(self, endpoint: str, until: float) -> Any:
        self.asked.append(endpoint)
        answer = self.answers[endpoint]
        if callable(answer):
            answer = answer(until)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def members(self, deadline: float) -> Any:
        self.asked.append("members")
        if isinstance(self.lists, Exception):
            raise self.lists
        return self.lists

    def confirm(self, seconds: float = 10.0) -> None:
        parts: Any = self
        lock: Any = SimpleNamespace(endpoint=self.endpoint, known_at=self.known_at, members=self.members)
        one_etcd.confirm(parts, lambda: self.other, lock, time.monotonic() + seconds)


def refusal(etcd: Etcd) -> str:
    with pytest.raises(Refused) as failure:
        etcd.confirm()
    return str(failure.value)
