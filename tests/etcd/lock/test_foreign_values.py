# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of values that others write into the directory: a `1` stays a `1`, and the reports finish and name the key."""

from __future__ import annotations

import base64
import json
import urllib.parse
import urllib.request

import pytest

from ctdb_etcd import __version__
from tests.support.helper import Helper
from tests.support.machine import wait_until
from tests.support.view import View

WHO = {"node": "n1", "pnn": 1, "pid": 7, "since": "2026-01-02T03:04:05Z", "version": __version__}
PROOF = {"lock_ttl": 9, "refresh": 2.0, "nonce": "x", "start_time": 7, "boot_id": "x"}
VALUES = {
    "pid": json.dumps({**WHO, "pid": float("inf")}),
    "pid and proof": json.dumps({**WHO, **PROOF, "pid": float("nan"), "start_time": 10**400}),
    "lock_ttl": json.dumps({**WHO, **PROOF}).replace('"lock_ttl": 9', '"lock_ttl": 1' + 400 * "0"),
    "refresh": json.dumps({**WHO, **PROOF, "refresh": "-Infinity"}),
    "since": json.dumps({**WHO, "since": "9999-99-99T99:99:99Z"}),
    "node": json.dumps({**WHO, "node": ["n1", {"x": None}]}),
    "depth": "[" * 100_000,
    "surrogate": json.dumps({**WHO, "node": "\ud800\u202e\n\x1b[2J"}),
    # etcd refuses a request of more than 1.5 MiB.
    "1.2 MB": "x" * 1_200_000,
    "1.2 MB of escapes": "\x01" * 1_200_000,
    "a number of 1.2 MB": "9" * 1_200_000,
}
EACH = pytest.mark.parametrize("what", VALUES)


def put(etcd, key, value, **more):
    """Write a key through the gateway, because a command line cannot carry a value of a megabyte."""
    key, value = (base64.b64encode(text.encode()).decode() for text in (key, value))
    assert etcd.members[0].post("kv/put", {"key": key, "value": value, **more}, 20) is not None


def put_v2(etcd, key, value):
    form = urllib.parse.urlencode({"value": value}).encode()
    url = f"http://{etcd.endpoints[0]}/v2/keys{key}"
    with urllib.request.urlopen(urllib.request.Request(url, form, method="PUT"), timeout=20) as answer:
        assert answer.status in (200, 201)


def is_contended(conf):
    with Helper(conf, "-v") as helper:
        assert helper.status() == "1", helper.describe()
        helper.wait_exit()
        assert "contention" in helper.stderr and "bug" not in helper.stderr


def is_reported(conf, key):
    view = report(conf, (0, 1), "--status", "--json")
    assert key in [view.json["holder"]["key"], *(other["key"] for other in view.json["queue"])]
    text = report(conf, (view.code,), "--status")
    assert text.errors == "" and len(text.text) < 10_000
    report(conf, (0,), "--check")


def report(conf, codes, *options):
    """A report with one of these exit statuses: the longest values take a busy machine longer than a report waits."""
    return wait_until(lambda: (view := View(conf, *options)).code in codes and view, f"{options} to give {codes}")


@EACH
def test_foreign_value_is_contention_and_is_reported(etcd, helper_conf, lock_name, elected, what):
    key = f"/_locks/_ctdb/{lock_name}/1"
    put(etcd, key, VALUES[what])
    is_contended(helper_conf())
    is_reported(helper_conf(), key)


@pytest.mark.v2
@EACH
def test_foreign_value_in_the_v2_api_is_contention_and_is_reported(etcd_v2, helper_conf, lock_name, elected, what):
    key = f"/_locks/_ctdb/{lock_name}/00000000000000000001"
    put_v2(etcd_v2, key, VALUES[what])
    conf = helper_conf(host=etcd_v2.endpoints[0], api="2")
    is_contended(conf)
    is_reported(conf, key)


def test_many_long_values_are_reported_by_their_keys_alone(etcd, helper_conf, lock_name):
    keys = [f"/_locks/_ctdb/{lock_name}/{number}" for number in range(8)]
    for key in keys:
        put(etcd, key, VALUES["1.2 MB"])
    is_contended(helper_conf())
    is_reported(helper_conf(), keys[7])
    assert "(too long to be read)" in View(helper_conf(), "--status").text


def test_growing_value_of_a_holder_is_no_loss(etcd, helper_conf, lock_name):
    with Helper(helper_conf(refresh=0.5)) as holder:
        assert holder.status() == "0"
        (key,) = etcd.keys(f"/_locks/_ctdb/{lock_name}/")
        seen = etcd.revision()
        put(etcd, key["key"], VALUES["1.2 MB"], ignore_lease=True)
        assert etcd.revision() > seen
        is_contended(helper_conf())
        with pytest.raises(AssertionError):
            holder.wait_exit(2)
        assert holder.alive and holder.stderr == ""
