# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of --status on a real etcd in each state: what it prints and how it exits."""

from __future__ import annotations

import os
import time

import pytest

from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.samba import Samba
from tests.support.view import View


def status(conf, *args, **env):
    return View(conf, "--status", "--json", *args, **env)


def test_free_lock_is_a_warning_with_its_endpoint_described(etcd, helper_conf, lock_name):
    view = status(helper_conf())
    report = view.json
    assert (view.code, report["exit"], report["state"], report["holder"]) == (1, 1, "free", None)
    assert report["lock"]["path"] == f"/_locks/_ctdb/{lock_name}/"
    assert report["lock"]["name_from"] == "netbios_name"
    (endpoint,) = report["endpoints"]
    assert endpoint["address"] == etcd.endpoints[0]
    assert endpoint["healthy"] and endpoint["leader"] and endpoint["version"].startswith("3.")
    assert 0 < endpoint["latency"] < 2 and abs(endpoint["clock_offset"]) <= 1
    assert report["v2_served"] is False and endpoint["v2"] is False
    assert view.errors == ""


def test_status_writes_nothing(etcd, helper_conf):
    conf = helper_conf()
    etcd.revoke_all()
    before = etcd.revision()
    status(conf)
    assert (etcd.revision(), etcd.leases()) == (before, [])


def test_held_lock_is_ok_with_its_holder_named(etcd, helper_conf, lock_name):
    with Helper(helper_conf()) as holder:
        assert holder.status() == "0"
        (key,) = etcd.keys(f"/_locks/_ctdb/{lock_name}/")
        view = status(helper_conf())
        found = view.json["holder"]
        assert (view.code, view.json["state"], view.json["queue"]) == (0, "held", [])
        assert (found["kind"], found["node"], found["pid"]) == ("ctdb-etcd", os.uname().nodename, holder.pid)
        assert (found["key"], found["revision"], found["apis"]) == (key["key"], key["create_revision"], ["3"])
        assert found["lease_ttl"] == 9 and 4 <= found["lease_left"] <= 9 and -1 <= found["age"] < 20
        text = View(helper_conf(), "--status")
        assert text.code == 0
        assert text.text.startswith(f"OK: /_locks/_ctdb/{lock_name}/ is held by node {os.uname().nodename}")
        assert "\033" not in text.text and "|" not in text.text
        assert holder.alive and etcd.keys(f"/_locks/_ctdb/{lock_name}/") == [key]


def test_etcdctl_is_identified_as_holder_and_in_the_queue(etcd, helper_conf, lock_name):
    path = f"/_locks/_ctdb/{lock_name}"
    with etcd.lock_process(path) as holder:
        key = holder.wait_acquired()
        with etcd.lock_process(path):
            wait_for(lambda: len(etcd.keys(path + "/")) == 2)
            view = status(helper_conf())
    assert (view.code, view.json["state"]) == (1, "held")
    assert (view.json["holder"]["kind"], view.json["holder"]["key"]) == ("etcdctl", key)
    assert view.json["holder"]["node"] is None
    assert [waiting["kind"] for waiting in view.json["queue"]] == ["etcdctl"]
    assert "etcdctl" in view.json["summary"]


def test_unknown_values_are_shown_without_moving_the_cursor(etcd, helper_conf, lock_name):
    etcd.put(f"/_locks/_ctdb/{lock_name}/x", "\033[2J|strange")
    view = View(helper_conf(), "--status")
    assert view.code == 1 and "something unknown" in view.text and "strange" in view.text
    assert "\033" not in view.text and "|" not in view.text


def test_sambas_helper_is_shown_with_its_node_and_its_queued_loser(
    etcd_v2, helper_conf, lock_name, tmp_path
):
    conf = helper_conf(host=etcd_v2.endpoints[0])
    samba = Samba(tmp_path, lock_name, etcd_v2.endpoints[0])
    with samba.helper() as theirs, samba.helper() as loser:
        answers = {theirs.status(), loser.status()}
        view = status(conf)
    assert answers == {"0", "1"} and [key["kind"] for key in view.json["queue"]] == ["samba"]
    assert (view.code, view.json["state"], view.json["v2_served"]) == (0, "held", True)
    assert (view.json["holder"]["kind"], view.json["holder"]["pnn"]) == ("samba", 0)
    assert view.json["holder"]["apis"] == ["2"] and 0 < view.json["holder"]["lease_left"] <= 9


@pytest.mark.parametrize("api, apis", [("auto", ["3", "2"]), ("2", ["2"]), ("3", ["3"])])
def test_status_shows_one_holder_with_its_apis_if_v2_is_served(etcd_v2, helper_conf, api, apis):
    conf = helper_conf(host=etcd_v2.endpoints[0], api=api)
    with Helper(conf) as holder:
        assert holder.status() == "0"
        view = status(conf)
    assert view.code == 0, view.text
    assert (view.json["holder"]["pid"], view.json["holder"]["apis"]) == (holder.pid, apis)
    assert view.json["queue"] == []


@pytest.mark.slow
def test_one_dead_member_of_three_is_a_warning_that_names_it(etcd3, helper_conf):
    conf = helper_conf(host=etcd3.endpoints)
    with Helper(conf) as holder:
        assert holder.status() == "0"
        etcd3.members[0].kill()
        wait_for(lambda: status(conf).code == 1)
        view = status(conf)
        unhealthy = [endpoint for endpoint in view.json["endpoints"] if not endpoint["healthy"]]
        assert [endpoint["address"] for endpoint in unhealthy] == [etcd3.endpoints[0]]
        assert unhealthy[0]["error"] == "Connection refused" and "2 of 3" in view.json["summary"]
        assert view.json["holder"]["pid"] == holder.pid


@pytest.mark.slow
def test_status_without_a_majority_is_critical_and_shows_the_rest(etcd3, helper_conf):
    conf = helper_conf(host=etcd3.endpoints)
    with Helper(conf) as holder:
        assert holder.status() == "0"
        etcd3.members[0].kill()
        etcd3.members[1].pause()
        time.sleep(2)
        view = status(conf)
        assert (view.code, view.json["state"]) == (2, "trouble")
        assert view.seconds < 15
        assert view.json["stale"] and view.json["holder"]["pid"] == holder.pid
        assert "no answer" in view.json["endpoints"][1]["error"]
        assert "no leader" in view.json["endpoints"][2]["error"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "pause"])
def test_status_without_any_member_is_unknown_in_bounded_time(etcd3, helper_conf, how):
    for member in etcd3.members:
        getattr(member, how)()
    view = status(helper_conf(host=etcd3.endpoints))
    assert (view.code, view.json["state"], view.json["holder"]) == (3, "unknown", None)
    assert view.seconds < 15
    assert not any(endpoint["reachable"] for endpoint in view.json["endpoints"])


@pytest.mark.slow
def test_etcd_alarm_is_critical(helper_conf):
    with Etcd(1, ["--quota-backend-bytes=32768"]) as etcd:
        with pytest.raises(AssertionError, match="exceeded"):
            for number in range(200):
                etcd.put(f"/fill{number}", "x" * 4000)
        view = status(helper_conf(host=etcd.endpoints))
    assert view.code == 2 and view.json["endpoints"][0]["alarms"] == ["NOSPACE"]


@pytest.mark.parametrize("keys, fault", [({"lock_ttl": "x"}, "lock_ttl"), ({"netbios_name": "a/b"}, "netbios_name")])
def test_status_of_a_bad_file_is_unknown_with_its_fault(helper_conf, keys, fault):
    view = status(helper_conf(host="127.0.0.1", **keys))
    assert (view.code, view.json["state"], view.json["endpoints"]) == (3, "unknown", [])
    assert fault in view.json["summary"]


@pytest.mark.parametrize("args", [["--status", "--check"], ["--json"], ["--status", "--frob"]])
def test_a_wrong_command_line_prints_no_status_character(helper_conf, args):
    view = View(helper_conf(host="127.0.0.1"), *args)
    assert (view.code, view.text) == (3, "") and "see --help" in view.errors


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
