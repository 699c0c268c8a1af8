# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Connecting to endpoints: what is said of one that cannot be connected to."""

from __future__ import annotations

import errno
import socket
import time

import pytest

from ctdb_etcd.client import endpoints
from ctdb_etcd.client.retry import reason
from ctdb_etcd.waiting import Patient


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (errno.EACCES, "connecting is not permitted on this machine (SELinux?): see SELINUX in ctdb-etcd(7)"),
        (errno.EPERM, "Operation not permitted"),
        (errno.ENETUNREACH, "Network is unreachable"),
    ],
)
def test_refusal_of_kernel_is_explained(monkeypatch, code, why):
    class Refusing(socket.socket):
        def connect_ex(self, address):
            return code

    monkeypatch.setattr("socket.socket", Refusing)
    candidate = endpoints.Address("etcd1:2379", socket.AF_INET, ("127.0.0.1", 2379))
    with pytest.raises(endpoints.ConnectFailed) as failed:
        endpoints.race([candidate], Patient(), time.monotonic() + 10)
    assert {endpoint: reason(error) for endpoint, error in failed.value.reasons.items()} == {"etcd1:2379": why}
