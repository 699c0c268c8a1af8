# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of --check without etcd: which item a fault is filed under."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ctdb_etcd.errors import LoginRefused, Refused, Unavailable
from ctdb_etcd.report.check import Check, _Trial
from tests.support.fakes import Log


@pytest.mark.parametrize(
    "error, user, logged_in, item",
    [
        (Refused("x"), "u", False, "login"),
        (LoginRefused("x"), "u", False, "login"),
        # Its auth is not enabled, or it did not answer.
        (Unavailable("x"), "u", False, "v3 lease"),
        (Refused("x"), "u", True, "v3 lease"),
        (Refused("x"), None, False, "v3 lease"),
        (Refused("x"), "u", None, "v3 lease"),
    ],
)
def test_first_fault_is_that_of_the_login_if_etcd_refuses_it(error, user, logged_in, item):
    def fails(deadline, meanwhile):
        raise error

    check = Check("/f", Log())
    client, lock = SimpleNamespace(logged_in=logged_in), SimpleNamespace(try_lease=fails)
    _Trial(check, SimpleNamespace(username=user), "3", client, lock, None).run("/l/")
    assert check.report["items"] == [{"item": item, "level": "fault", "text": "x"}]
