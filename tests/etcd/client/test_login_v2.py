# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of user and password in the v2 API."""

from __future__ import annotations

import base64
import json
import time
import urllib.request

import pytest

from tests.support import login, release
from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.login import refusal

conf = login.conf

# One password is ASCII, one is ISO 8859-1, one is neither.
PASSWORDS = ["secret", "s\u00e9cret", "\u20acs\u00e9cret"]


class V2:
    """The v2 API of an etcd, which has its own users."""

    def __init__(self, etcd):
        self._base = f"http://{etcd.endpoints[0]}/v2"

    def put(self, path, body, user=None):
        headers = {"Content-Type": "application/json"}
        if user:
            headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
        request = urllib.request.Request(self._base + path, json.dumps(body).encode(), headers, method="PUT")
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status


def guard(etcd, lock_name, passwords):
    """Let root do everything, and only the users ctdb0, ctdb1, ... with these passwords use the test's lock."""
    v2 = V2(etcd)
    v2.put("/auth/users/root", {"user": "root", "password": "root"})
    # The directory is read recursively. For that, the star must follow its name directly.
    paths = [f"/_locks/_ctdb/{lock_name}*"]
    v2.put("/auth/roles/ctdb", {"role": "ctdb", "permissions": {"kv": {"read": paths, "write": paths}}})
    for number, password in enumerate(passwords):
        v2.put(f"/auth/users/ctdb{number}", {"user": f"ctdb{number}", "password": password, "roles": ["ctdb"]})
    v2.put("/auth/enable", {})
    none = {"kv": {"read": ["/*"], "write": ["/*"]}}
    v2.put("/auth/roles/guest", {"role": "guest", "revoke": none}, "root:root")
    return v2


@pytest.mark.v2
def test_v2_api_needs_its_own_user_with_only_the_lock_permission(conf, lock_name):
    with Etcd(1, release.v2_flags()) as etcd:
        guard(etcd, lock_name, PASSWORDS)
        for number, password in enumerate(PASSWORDS):
            with Helper(conf(etcd, f"ctdb{number}", password=password, api="2")) as helper:
                assert helper.status() == "0", helper.describe()
                with Helper(conf(etcd, f"ctdb{number}", password=password, api="2")) as other:
                    assert other.status() == "1"
                helper.terminate()
                helper.wait_exit()
        for wrong in "wrong-secret", "wrong-\u20ac":
            line = refusal(conf(etcd, "ctdb0", password=wrong, api="2"), "-v")
            assert "check username, password, and the right" in line and wrong not in line
        assert "role grant ROLE --path '/_locks/_ctdb/NAME*' --readwrite" in line


@pytest.mark.slow
@pytest.mark.v2
def test_v2_password_changed_in_etcd_and_file_keeps_the_lock(conf, lock_name):
    with Etcd(1, release.v2_flags()) as etcd:
        v2 = guard(etcd, lock_name, ["old"])
        path = conf(etcd, "ctdb0", password="old", api="2", refresh=1)
        with Helper(path) as helper:
            assert helper.status() == "0", helper.describe()
            v2.put("/auth/users/ctdb0", {"user": "ctdb0", "password": "new"}, "root:root")
            path.write_text(path.read_text().replace("password = old", "password = new"))
            time.sleep(10)
            assert helper.alive and "has changed and was read again" in helper.stderr, helper.describe()
