# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of --check on a real etcd: it tries each thing that the lock needs and does not touch the lock."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from tests.support import TREE
from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.member import Tls
from tests.support.view import View

PASSWORD = "s3cret-of-the-test"

# The releases of etcd that let only root query maintenance/status.
STATUS_REFUSED = re.compile(r"3\.4\.4[2-5]|3\.5\.(28|29|30|31)|3\.6\.([0-9]|10|11)")


def check(conf, **env):
    return View(conf, "--check", "--json", **env)


def texts(view, item):
    return " ".join(found["text"] for found in view.json["items"] if found["item"] == item)


@pytest.mark.parametrize("held", [False, True])
def test_check_of_a_good_node_passes_and_leaves_nothing(etcd, helper_conf, lock_name, held):
    conf, directory = helper_conf(acquire_timeout=None), f"/_locks/_ctdb/{lock_name}/"
    etcd.revoke_all()
    with Helper(conf if held else helper_conf(netbios_name="OTHER")) as holder:
        assert holder.status() == "0"
        before = etcd.keys(directory), etcd.revision(), etcd.leases()
        view = check(conf)
        assert (view.code, set(view.levels().values())) == (0, {"ok"}), view.text
        assert (etcd.keys(directory), etcd.revision(), etcd.leases()) == before
        assert holder.alive
    assert ("answer 1" in texts(view, "v3 read")) == held
    assert f"{lock_name}, from netbios_name" == texts(view, "name")
    assert set(view.levels()) == {
        *("file", "name", f"endpoint {etcd.endpoints[0]}", "v3 lease", "login", "cluster"),
        *("v3 read", "v3 write", "v2", "clock"),
    }
    assert View(conf, "--check").text.endswith("this node can take the lock, or report that another node holds it\n")


@pytest.mark.parametrize("held", [False, True])
def test_check_tries_v2_if_it_is_served_and_leaves_no_key(etcd_v2, helper_conf, lock_name, held):
    conf, directory = helper_conf(host=etcd_v2.endpoints[0]), f"/_locks/_ctdb/{lock_name}"
    with Helper(conf if held else helper_conf(host=etcd_v2.endpoints[0], netbios_name=f"O{lock_name}")) as holder:
        assert holder.status() == "0"
        before = etcd_v2.keys_v2(directory)
        view = check(conf)
        assert view.code == 0 and "nothing was written" in texts(view, "v2 write"), view.text
        assert etcd_v2.keys_v2(directory) == before and len(before) == held
        assert check(helper_conf(host=etcd_v2.endpoints[0], api="2")).code == 0


def test_api_2_is_a_fault_if_etcd_does_not_serve_v2(helper_conf):
    view = check(helper_conf(api="2"))
    assert view.code == 1 and "--enable-v2=true" in texts(view, "v2 read")


def test_check_shows_the_name_from_testparm_and_its_source(helper_conf, tmp_path):
    smb = tmp_path / "smb.conf"
    smb.write_text("[global]\nnetbios name = FROMSMB\n")
    view = check(helper_conf(netbios_name=None), SMB_CONF_PATH=str(smb))
    assert view.code == 0 and texts(view, "name") == "FROMSMB, from testparm"
    host = os.uname().nodename.split(".")[0]
    smb.write_text(f"[global]\nnetbios name = {host}\n")
    view = check(helper_conf(netbios_name=None), SMB_CONF_PATH=str(smb))
    assert view.code == 0 and f"{host.upper()} is this host's own name: see that" in texts(view, "name")
    smb.write_text("[global]\n")
    view = check(helper_conf(netbios_name=None), SMB_CONF_PATH=str(smb))
    assert view.code == 1 and view.levels()["name"] == "fault" and "netbios_name" in texts(view, "name")
    assert view.levels()["v2"] == "ok", view.text


def test_check_finds_v2_even_if_the_name_is_not_known(etcd_v2, helper_conf, tmp_path):
    (tmp_path / "smb.conf").write_text("[global]\n")
    conf = helper_conf(host=etcd_v2.endpoints[0], netbios_name=None)
    view = check(conf, SMB_CONF_PATH=str(tmp_path / "smb.conf"))
    assert [item for item, level in view.levels().items() if level == "fault"] == ["name"], view.text
    assert "v2" not in view.levels()


def test_file_of_sambas_helper_without_values_in_ours_causes_a_warning(tmp_path):
    (tmp_path / "etcd").write_text("host = etcd1\n")
    view = View(None, "--check", "--json", CTDB_BASE=str(tmp_path))
    assert view.levels()["file"] == "warning", view.text
    assert f"copy its settings to {tmp_path}/ctdb_etcd_lock.conf" in texts(view, "file")
    # As the packages install it.
    shutil.copy(TREE / "etc" / "ctdb_etcd_lock.conf", tmp_path)
    assert View(None, "--check", "--json", CTDB_BASE=str(tmp_path)).levels()["file"] == "warning"
    (tmp_path / "ctdb_etcd_lock.conf").write_text("host = etcd2\n")
    assert View(None, "--check", "--json", CTDB_BASE=str(tmp_path)).levels()["file"] == "ok"


@pytest.mark.parametrize("timeout, seconds, warns", [(5, 4, False), (5, 5, True), (12, 11, False), (3, 4, True)])
def test_acquire_timeout_over_the_leader_timeout_causes_a_warning(helper_conf, tmp_path, timeout, seconds, warns):
    (tmp_path / "ctdb.conf").write_text(f"[cluster]\n  leader timeout = {timeout}\n")
    view = check(helper_conf(acquire_timeout=seconds), CTDB_BASE=str(tmp_path))
    assert view.code == 0 and ("leader timeout" in texts(view, "file")) == warns, view.text


@pytest.mark.slow
def test_one_dead_member_is_a_warning_and_three_are_a_fault(etcd3, helper_conf):
    conf = helper_conf(host=etcd3.endpoints)
    etcd3.members[0].kill()
    etcd3.leader()
    view = check(conf)
    assert view.code == 0 and view.levels()[f"endpoint {etcd3.endpoints[0]}"] == "warning", view.text
    etcd3.members[1].pause()
    view = check(conf)
    assert view.code == 1 and view.seconds < 15 and view.levels()["v3 lease"] == "fault"
    for member in etcd3.members:
        member.kill()
    view = check(conf)
    assert view.code == 1 and view.levels()["etcd"] == "fault" and view.seconds < 15


@pytest.fixture(scope="module", params=["", "3.6.11", "3.7"])
def etcd_with_login(request, built_etcd):
    """One etcd with auth: user `rw` may read and write the lock, `ro` may read it, `none` has no permission.

    etcd 3.6.11 lets only root query maintenance/status; 3.7 lets every user who logs in.
    """
    with Etcd(1, ["--bcrypt-cost=4"], program=request.param and built_etcd(request.param)) as etcd:
        for user, permission in (("root", None), ("rw", "readwrite"), ("ro", "read"), ("none", None)):
            etcd.etcdctl("user", "add", f"{user}:{PASSWORD}")
            etcd.etcdctl("role", "add", user)
            etcd.etcdctl("user", "grant-role", user, user)
            if permission:
                etcd.etcdctl("role", "grant-permission", user, "--prefix=true", permission, "/_locks/_ctdb/TEST/")
        etcd.etcdctl("auth", "enable")
        etcd.user = f"root:{PASSWORD}"
        yield etcd


@pytest.mark.parametrize(
    "user, password, fault, advice",
    [
        ("rw", PASSWORD, None, ""),
        ("ro", PASSWORD, "v3 write", "grant-permission ROLE --prefix=true readwrite /_locks/_ctdb/TEST/"),
        ("none", PASSWORD, "v3 read", "readwrite"),
        ("rw", "wrong", "login", "check username (rw) and password"),
        (None, None, "v3 read", "set username and password"),
    ],
)
def test_check_tests_login_and_permissions_and_shows_no_secret(
    etcd_with_login, helper_conf, user, password, fault, advice
):
    host = etcd_with_login.endpoints[0]
    conf = helper_conf(host=host, username=user, password=password, netbios_name="TEST")
    os.chmod(conf, 0o600)
    before = etcd_with_login.revision()
    view = check(conf)
    faults = [item for item, level in view.levels().items() if level == "fault"]
    # Since 3.4.42, 3.5.28 and 3.6.9 a lease also needs a login.
    assert faults == ([fault] if fault else []) or (faults, user) == (["v3 lease"], None), view.text
    assert view.code == (1 if fault else 0)
    assert all(advice in texts(view, item) for item in faults)
    assert etcd_with_login.keys("/_locks/") == [] and etcd_with_login.revision() == before
    status = View(conf, "--status", "--json")
    # Permission to read is enough for the status of a free lock.
    assert status.code == (3 if fault and "write" not in fault else 1), status.text
    assert advice in status.json["summary"] or status.code == 1
    for args in (["--check", "-vvv"], ["--status", "-vvv"]):
        loud = View(conf, *args)
        assert PASSWORD not in view.text + status.text + loud.text + loud.errors
        assert (password or PASSWORD) not in loud.text + loud.errors


def test_status_reports_the_rest_without_permission_for_member_state(etcd_with_login, helper_conf):
    login = {"username": "rw", "password": PASSWORD, "netbios_name": "TEST"}
    conf = helper_conf(host=etcd_with_login.endpoints[0], **login)
    os.chmod(conf, 0o600)
    status = View(conf, "--status", "--json")
    (endpoint,) = status.json["endpoints"]
    assert endpoint["healthy"] and endpoint["version"] and endpoint["cluster_id"] and endpoint["latency"] > 0
    assert endpoint["clock_offset"] is not None
    if STATUS_REFUSED.fullmatch(endpoint["version"]):
        assert endpoint["leader"] is None and endpoint["alarms"] == []
        assert endpoint["note"] == "which member leads is not known: etcd reports: etcdserver: permission denied"
        assert endpoint["note"] in View(conf, "--status").text and endpoint["note"] in View(conf, "--check").text
    else:
        assert endpoint["leader"] is True and endpoint["note"] is None


def test_alarm_is_reported_if_maintenance_status_is_refused(built_etcd, helper_conf):
    with Etcd(1, ["--bcrypt-cost=4", "--quota-backend-bytes=100000"], program=built_etcd("3.6.11")) as etcd:
        with pytest.raises(AssertionError, match="database space exceeded"):
            for number in range(50):
                etcd.put(f"/fill/{number}", "x" * 50000)
        for command in ("user add root:root", "user grant-role root root", "auth enable"):
            etcd.etcdctl(*command.split())
        etcd.user = "root:root"
        (endpoint,) = View(helper_conf(host=etcd.endpoints[0]), "--status", "--json").json["endpoints"]
    assert endpoint["alarms"] == ["NOSPACE"] and not endpoint["healthy"] and "set username" in endpoint["note"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """PEM files: a CA, its certificate for 127.0.0.1, and another CA that has signed nothing."""
    path = tmp_path_factory.mktemp("tls")

    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=path, check=True, capture_output=True, timeout=30)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("ca", "other"):
        openssl("req", "-x509", *curve, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    openssl("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=etcd")
    (path / "extensions").write_text("subjectAltName=IP:127.0.0.1\n")
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "extensions", "-days", "2"]
    openssl("x509", "-req", "-in", "server.csr", "-out", "server.pem", *signing)
    return path


@pytest.fixture(scope="module")
def etcd_tls(certificates):
    files = (str(certificates / name) for name in ("server.pem", "server.key", "ca.pem"))
    with Etcd(1, tls=Tls(*files)) as etcd:
        yield etcd


@pytest.mark.parametrize(
    "keys, advice",
    [
        ({"protocol": "https", "ca_cert": "ca.pem"}, None),
        ({"protocol": "https", "ca_cert": "other.pem"}, "set ca_cert to its CA's file"),
        ({"protocol": "http"}, "set protocol = https"),
        ({"protocol": "https", "ca_cert": "missing.pem"}, "name a file that can be read"),
    ],
)
def test_wrong_tls_is_distinguished_from_good_tls(etcd_tls, certificates, helper_conf, keys, advice):
    keys = {key: str(certificates / value) if key == "ca_cert" else value for key, value in keys.items()}
    conf = helper_conf(host=etcd_tls.endpoints[0], **keys)
    view, status = check(conf), View(conf, "--status", "--json")
    assert (view.code, status.code) == ((1, 3) if advice else (0, 1)), view.text + status.text
    if advice:
        assert "fault" in (view.levels().get("endpoints"), view.levels().get("etcd")), view.text
        assert advice in view.text, view.text
        assert any(advice in problem for problem in status.json["problems"]), status.text
