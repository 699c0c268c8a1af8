# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the lock's name: the netbios name as the real testparm prints it, and what is refused."""

from __future__ import annotations

import os
import re
import socket
import time

import pytest

from tests.support.helper import PATH, PROGRAM, Helper

HOST = socket.gethostname().split(".")[0].upper()


@pytest.fixture
def with_smb_conf(tmp_path):
    """Return a function that makes an environment in which the real testparm reads this smb.conf."""

    def environment(text):
        (tmp_path / "smb.conf").write_text(text)
        return {"SMB_CONF_PATH": str(tmp_path / "smb.conf")}

    return environment


def with_testparm(tmp_path, script):
    (tmp_path / "bin").mkdir(exist_ok=True)
    (tmp_path / "bin" / "testparm").write_text(script)
    (tmp_path / "bin" / "testparm").chmod(0o755)
    return {"PATH": f"{tmp_path}/bin:{PATH}"}


def conf_without_name(tmp_path, etcd):
    conf = tmp_path / "no-name.conf"
    conf.write_text(f"host = {etcd.endpoints[0]}\n")
    return conf


def refusal(conf, env):
    with Helper(conf, env=env) as helper:
        assert helper.status() == "3", helper.describe()
        helper.wait_exit()
        (line,) = helper.stderr.splitlines()
        assert "netbios_name" in line
        return line


def test_lock_has_the_name_of_testparm_in_upper_case(etcd, tmp_path, with_smb_conf, lock_name):
    env = with_smb_conf(f"[global]\n  netbios name = {lock_name.lower()}\n")
    with Helper(conf_without_name(tmp_path, etcd), env=env) as helper:
        assert helper.status() == "0"
        assert len(etcd.keys(f"/_locks/_ctdb/{lock_name}/")) == 1


def test_testparm_is_not_run_with_netbios_name_set(etcd, tmp_path, helper_conf):
    ran = tmp_path / "ran"
    with Helper(helper_conf(), env=with_testparm(tmp_path, f"#!/bin/sh\ntouch {ran}\necho X\n")) as helper:
        assert helper.status() == "0"
        assert not ran.exists()


@pytest.mark.parametrize("more", ["", "[share]\n  path = /\n  netbios name = CLUSTER\n"], ids=["no name", "in a share"])
def test_smb_conf_without_a_netbios_name_is_refused_with_the_reason(etcd, tmp_path, with_smb_conf, more):
    line = refusal(conf_without_name(tmp_path, etcd), with_smb_conf("[global]\n  workgroup = X\n" + more))
    assert f"smb.conf itself sets no netbios name in [global], and {HOST} is this host's own name" in line


@pytest.mark.root
@pytest.mark.parametrize("host", ["A23456789012345", "A234567890123456", "node-of-the-north-01.example.org"])
def test_a_long_host_name_is_refused_too(etcd, tmp_path, with_smb_conf, host):
    inside = ["--uts", "sh", "-c", 'hostname "$0" && exec "$@"', host, PROGRAM]
    env = with_smb_conf("[global]\n  workgroup = X\n")
    with Helper(None, *inside, "-c", str(conf_without_name(tmp_path, etcd)), program="unshare", env=env) as helper:
        assert helper.status() == "3", helper.describe()
        helper.wait_exit()
        assert "is this host's own name" in helper.stderr


def test_other_faults_of_smb_conf_do_not_matter(etcd, tmp_path, with_smb_conf, lock_name):
    env = with_smb_conf(f"[global]\n  netbios name = {lock_name}\n  state directory = /nonexistent\n")
    with Helper(conf_without_name(tmp_path, etcd), env=env) as helper:
        assert helper.status() == "0", helper.describe()


def test_many_warnings_of_testparm_do_not_matter(etcd, tmp_path, lock_name):
    script = f"#!/bin/sh\nhead -c 200000 /dev/zero | tr '\\0' x >&2\necho {lock_name}\n"
    with Helper(conf_without_name(tmp_path, etcd), env=with_testparm(tmp_path, script)) as helper:
        assert helper.status() == "0", helper.describe()


def test_cluster_may_have_a_host_name_that_is_set_in_smb_conf(etcd, tmp_path, with_smb_conf):
    env = with_smb_conf(f"[global]\n  NetBIOS Name = {HOST}\n")
    with Helper(conf_without_name(tmp_path, etcd), env=env) as helper:
        assert helper.status() == "0"
        # It removes its file in /run/ctdb: no fixture knows this name.
        helper.terminate()
        helper.wait_exit()


@pytest.mark.parametrize("name", ["has blank", "a/b", "naïve", "a\tb", "a#b", "a%41", "..", "x" * 64])
def test_name_that_cannot_name_a_lock_is_refused(etcd, tmp_path, with_smb_conf, name):
    line = refusal(conf_without_name(tmp_path, etcd), with_smb_conf(f"[global]\n  netbios name = {name}\n"))
    assert "cannot name a lock" in line or "this host's own name" in line


def test_an_smb_conf_that_is_missing_is_named(etcd, tmp_path):
    env = {"SMB_CONF_PATH": str(tmp_path / "missing.conf")}
    line = refusal(conf_without_name(tmp_path, etcd), env)
    assert "missing.conf" in line


def test_a_missing_testparm_is_named_with_what_to_install(etcd, tmp_path):
    env = {"PATH": str(tmp_path)}
    with Helper(None, "-c", str(conf_without_name(tmp_path, etcd)), env=env) as helper:
        assert helper.status() == "3"
        helper.wait_exit()
        assert "testparm cannot be run" in helper.stderr and "install Samba's tools" in helper.stderr


def test_testparm_that_the_kernel_kills_gives_2(etcd, tmp_path):
    env = with_testparm(tmp_path, "#!/bin/sh\nkill -KILL $$\n")
    with Helper(conf_without_name(tmp_path, etcd), env=env) as helper:
        assert helper.status() == "2"
        helper.wait_exit()
        assert "testparm was ended by signal 9" in helper.stderr


@pytest.mark.slow
def test_hanging_testparm_gives_2_and_is_killed(etcd, tmp_path):
    pid = tmp_path / "pid"
    env = with_testparm(tmp_path, f"#!/bin/sh\necho $$ > {pid}\nexec sleep 60\n")
    with Helper(conf_without_name(tmp_path, etcd), env=env) as helper:
        assert helper.status() == "2"
        assert 3.9 < helper.answered_after < 8
        helper.wait_exit()
        # The time counts from testparm's start, a moment after the helper's.
        assert re.search(r"testparm gave no answer in [3-7]\.\d s: ", helper.stderr)
        assert not os.path.exists(f"/proc/{pid.read_text().strip()}")


@pytest.mark.slow
def test_a_hanging_testparm_does_not_outlive_a_killed_helper(etcd, tmp_path):
    pid = tmp_path / "pid"
    env = with_testparm(tmp_path, f"#!/bin/sh\necho $$ > {pid}\nexec sleep 60\n")
    with Helper(None, "-c", str(conf_without_name(tmp_path, etcd)), env=env) as helper:
        while not pid.exists() or not pid.read_text().strip():
            time.sleep(0.01)
        helper.kill()
        deadline = time.monotonic() + 13
        while os.path.exists(f"/proc/{pid.read_text().strip()}"):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_testparm_with_too_much_or_invalid_output_is_refused(etcd, tmp_path):
    conf = conf_without_name(tmp_path, etcd)
    for output in ("yes", "head -c 100000 /dev/urandom", "printf 'A\\nB\\n'", "printf '\\033[2J'", "true"):
        refusal(conf, with_testparm(tmp_path, f"#!/bin/sh\n{output}\n"))
