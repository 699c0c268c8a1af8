# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of --status and --check together in each state; --json has exactly the keys that the man page names."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support import TREE, release
from tests.support.etcd import Etcd
from tests.support.helper import PATH, PROGRAM, Helper
from tests.support.names import Names
from tests.support.samba import Samba
from tests.support.view import View

BOTH = pytest.mark.parametrize("command", ["--status", "--check"])
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

PAGE = ElementTree.parse(TREE / "man" / "ctdb-etcd.7.xml").getroot()


def documented(part):
    """Return the keys of one part of the JSON as the man page has them, and the words that it sets as literals."""
    entries = [entry for entry in PAGE.iter("varlistentry") if entry.get("role") == f"json-{part}"]
    words = {"".join(literal.itertext()) for entry in entries for literal in entry.iter("literal")}
    return sorted(term.findtext("literal") for entry in entries for term in entry.iter("term")), words


def conforms(view):
    """Return the report. Its keys must be exactly those in the man page, and its words must be there too."""
    report = view.json
    assert view.code == report["exit"] and report["format"] == 1
    if "items" in report:
        parts = {"check": [report], "item": report["items"]}
        words = {item["level"] for item in report["items"]}
        assert words | {item["item"] for item in report["items"] if "endpoint " not in item["item"]} <= words_of("item")
    else:
        keys = report["queue"] + ([report["holder"]] if report["holder"] else [])
        locks = [report["lock"]] if report["lock"] else []
        parts = {"status": [report], "lock": locks, "key": keys, "endpoint": report["endpoints"]}
        assert report["state"] in words_of("status") and {key["kind"] for key in keys} <= words_of("key")
        assert all(lock["name_from"] in words_of("lock") for lock in locks)
        assert {alarm for endpoint in report["endpoints"] for alarm in endpoint["alarms"]} <= words_of("endpoint")
    for part, objects in parts.items():
        for found in objects:
            assert sorted(found) == documented(part)[0], part
    return report


def words_of(part):
    return documented(part)[1]


def both(conf, **options):
    """Return the reports of --status and --check."""
    return [conforms(View(conf, command, "--json", **options)) for command in ("--status", "--check")]


def test_the_man_page_names_each_key_of_the_json_once():
    for part in "status", "lock", "key", "endpoint", "check", "item":
        keys, _ = documented(part)
        assert len(keys) == len(set(keys)) > 0


@pytest.mark.parametrize("holder", [None, "ctdb-etcd", "etcdctl"])
def test_check_finds_no_fault_whether_the_lock_is_free_or_held(etcd, helper_conf, lock_name, holder):
    conf = helper_conf()
    if holder == "ctdb-etcd":
        with Helper(conf) as helper:
            assert helper.status() == "0"
            status, check = both(conf)
    elif holder:
        with etcd.lock_process(f"/_locks/_ctdb/{lock_name}") as process:
            process.wait_acquired()
            status, check = both(conf)
    else:
        status, check = both(conf)
    assert (status["holder"] or {}).get("kind") == holder
    assert check["exit"] == 0
    (text,) = [item["text"] for item in check["items"] if item["item"] == "v3 read"]
    assert text.endswith("this node would answer 1" if holder else "the lock is free")


def test_reports_name_samba_as_holder_of_the_v2_lock(etcd_v2, helper_conf, lock_name, tmp_path):
    conf = helper_conf(host=etcd_v2.endpoints[0])
    with Samba(tmp_path, lock_name, etcd_v2.endpoints[0]).helper() as theirs:
        assert theirs.status() == "0"
        status, check = both(conf)
    assert (status["exit"], status["holder"]["kind"]) == (0, "samba")
    assert check["exit"] == 0
    assert "somebody holds the lock" in next(item["text"] for item in check["items"] if item["item"] == "v2 read")


@pytest.mark.parametrize("api", ["auto", "2", "3"])
def test_reports_show_that_v2_is_served(etcd_v2, helper_conf, api):
    conf = helper_conf(host=etcd_v2.endpoints[0], api=api)
    with Helper(conf) as helper:
        assert helper.status() == "0"
        status, check = both(conf)
    assert (status["exit"], status["v2_served"], check["exit"]) == (0, None if api == "3" else True, 0)
    assert status["endpoints"][0]["v2"] is status["v2_served"]


def test_reports_show_that_v2_is_not_served(etcd, helper_conf):
    status, check = both(helper_conf())
    assert (status["v2_served"], check["exit"]) == (False, 0)
    assert "not served by etcd" in str(check["items"])
    status, check = both(helper_conf(api="2"))
    assert (status["exit"], check["exit"]) == (3, 1)
    assert "--enable-v2=true" in status["summary"] and "--enable-v2=true" in str(check["items"])


@pytest.mark.root
@pytest.mark.parametrize("api", ["auto", "2"])
def test_reports_name_missing_python_etcd_if_v2_is_served(etcd_v2, helper_conf, tmp_path, api):
    module = pytest.importorskip("etcd").__file__
    missing = tmp_path / "missing.py"
    missing.write_text("raise ImportError(\"No module named 'etcd'\")\n")
    hide = ["unshare", "--mount", "sh", "-c", f'mount --bind {missing} {module} && exec "$@"', "sh"]
    status, check = both(helper_conf(host=etcd_v2.endpoints[0], api=api), enter=hide)
    assert (status["exit"], check["exit"]) == (3, 1)
    assert "install python3-etcd" in status["summary"]
    assert [item["level"] for item in check["items"] if "install python3-etcd" in item["text"]] == ["fault"]


@pytest.fixture
def names(tmp_path):
    (tmp_path / "etc").mkdir()
    with Names(tmp_path / "etc") as names:
        yield names


@pytest.mark.root
def test_reports_show_the_endpoints_named_by_dns_or_that_none_is(etcd, names, helper_conf):
    conf = helper_conf(host=None, srv_domain="cluster.test")
    port = etcd.endpoints[0].split(":")[1]
    names.serve(f"srv-host=_etcd-client._tcp.cluster.test,m.test,{port},0,0", "host-record=m.test,127.0.0.1")
    status, check = both(conf, enter=names.enter)
    assert (status["exit"], check["exit"]) == (1, 0)
    assert [endpoint["address"] for endpoint in status["endpoints"]] == [f"m.test:{port}"]
    names.serve()
    status, check = both(conf, enter=names.enter)
    assert (status["exit"], status["endpoints"], check["exit"]) == (3, [], 1)
    for text in status["summary"], check["items"][-1]["text"]:
        assert "there are no SRV records _etcd-client._tcp.cluster.test or _etcd._tcp.cluster.test" in text
    names.fall_silent()
    for command in "--status", "--check":
        view = View(conf, command, "--json", enter=names.enter)
        assert conforms(view)["exit"] == (3 if command == "--status" else 1) and view.seconds < 15
        assert "the name servers give no answer" in view.text


@pytest.fixture(scope="module")
def readable():
    """Yield a copy of the program that everybody can run, wherever the checkout is."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        program = Path(directory) / "ctdb_etcd_lock"
        shutil.copy(PROGRAM, program)
        shutil.copytree(Path(PROGRAM).resolve().parent / "ctdb_etcd", Path(directory) / "ctdb_etcd")
        yield program


@pytest.mark.root
def test_reports_work_without_root_if_the_file_is_readable(etcd, helper_conf, readable, lock_name):
    conf = readable.with_name("conf")
    shutil.copy(helper_conf(), conf)
    conf.chmod(0o644)
    status, check = both(conf, enter=NOBODY, program=str(readable))
    assert (status["exit"], status["state"], check["exit"]) == (1, "free", 0)
    conf.chmod(0o600)
    status, check = both(conf, enter=NOBODY, program=str(readable))
    assert (status["exit"], check["exit"], check["items"][-1]["level"]) == (3, 1, "fault")
    for text in status["summary"], check["items"][-1]["text"]:
        assert text == f"{conf}: Permission denied: name a file that can be read"


@pytest.mark.parametrize("alarm", ["NOSPACE", "CORRUPT"])
def test_alarm_is_critical_and_the_lock_cannot_be_taken(helper_conf, alarm):
    with Etcd(1) as etcd:
        raise_alarm(etcd, alarm)
        status, check = both(helper_conf(host=etcd.endpoints))
    assert (status["exit"], status["endpoints"][0]["alarms"]) == (2, [alarm]) and alarm in status["summary"]
    assert check["exit"] == 1
    levels = {item["item"]: (item["level"], item["text"]) for item in check["items"]}
    assert levels[f"endpoint {status['endpoints'][0]['address']}"] == ("warning", f"alarm {alarm}")
    assert levels["v3 lease"][0] == "fault" and "etcdserver: " in levels["v3 lease"][1]


def raise_alarm(etcd, alarm):
    connection = http.client.HTTPConnection(*etcd.endpoints[0].split(":"), timeout=5)
    request = {"action": "ACTIVATE", "memberID": etcd.members[0].ids()[0], "alarm": alarm}
    connection.request("POST", "/v3/maintenance/alarm", json.dumps(request))
    assert alarm in connection.getresponse().read().decode()
    connection.close()


@pytest.mark.parametrize(
    "keys, fault",
    [
        ({"lock_ttl": "x"}, "lock_ttl"),
        ({"lock_tll": "9"}, "lock_ttl"),
        ({"netbios_name": "a/b"}, "netbios_name"),
        ({"netbios_name": None}, "testparm cannot be run"),
        ({"protocol": "https", "ca_cert": "/nonexistent"}, "/nonexistent"),
        ({"host": "127.0.0.1:1"}, "Connection refused"),
        ({"expected_cluster_id": "1"}, "expected_cluster_id"),
    ],
)
def test_json_is_complete_and_names_each_fault(etcd, helper_conf, keys, fault):
    status, check = both(helper_conf(**keys), enter=["env", "PATH=/nonexistent"])
    assert (status["exit"], check["exit"]) == (3, 1)
    assert any(fault in problem for problem in status["problems"])
    assert any(fault in item["text"] for item in check["items"] if item["level"] != "ok")


def test_a_missing_file_is_reported_in_json_too(tmp_path):
    status, check = both(tmp_path / "missing")
    assert (status["exit"], check["exit"]) == (3, 1)
    assert "No such file" in status["summary"] and "No such file" in check["items"][0]["text"]


@pytest.mark.v2
@pytest.mark.slow
def test_users_created_as_in_the_man_page_may_use_both_apis(helper_conf):
    (section,) = (part for part in PAGE.iter("refsect2") if part.findtext("title") == "Users and roles")
    v3, (export, *v2) = (commands(screen.text) for screen in section.iter("screen"))
    assert export == ["export", "ETCDCTL_API=2"]
    # Auth in v3 requires that the user root has the role root.
    root = commands("etcdctl role add root\netcdctl user add root\netcdctl user grant-role root root")
    with Etcd(1, [*release.v2_flags(), "--bcrypt-cost=4"]) as etcd:
        for api, command in [("3", c) for c in [*v3, *root, ["etcdctl", "auth", "enable"]]] + [("2", c) for c in v2]:
            environment = {"PATH": PATH, "ETCDCTL_API": api, "ETCDCTL_ENDPOINTS": f"http://{etcd.endpoints[0]}"}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}: {done.stderr}"
        keys = {"host": etcd.endpoints, "netbios_name": "NAME"}
        conf = helper_conf(username="ctdb", password="secret", **keys)
        conf.chmod(0o600)
        with Helper(conf) as helper:
            assert helper.status() == "0", helper.describe()
            status, check = both(conf)
        assert (status["exit"], status["holder"]["apis"], check["exit"]) == (0, ["3", "2"], 0)
        status, check = both(helper_conf(api="2", **keys))
        assert (status["exit"], check["exit"]) == (3, 1) and "role grant ROLE --path" in status["summary"]


def commands(text):
    """Return the commands of a screen, with the passwords that etcdctl would ask for at a terminal."""
    text = text.replace("user add ctdb\n", "user add ctdb:secret\n").replace("user add root\n", "user add root:root\n")
    text = text.replace("--username root ", "--username root:root ")
    return [shlex.split(line) for line in text.strip().splitlines()]
