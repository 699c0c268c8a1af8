# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the cluster's name: it is the same on all nodes, so a host's own name is refused, even if truncated."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from ctdb_etcd.config.keys import path_component
from ctdb_etcd.ctdb import cluster_name
from ctdb_etcd.ctdb.cluster_name import find
from ctdb_etcd.ctdb.commands import NOT_RUN
from ctdb_etcd.errors import Refused, Unavailable


class Command:
    """A fake testparm command with this answer, or without one in time (TimeoutError)."""

    def __init__(self, out="", err="", status=0, late=False):
        self.answer, self.late = (status, out, err), late

    def output(self, waiter, deadline):
        self.asked = waiter, deadline
        if self.late:
            raise TimeoutError
        return self.answer


def name(host, answer, monkeypatch, err=""):
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename=host))
    return find(Command(answer, err), None, 0)


# A host's name, and the name that Samba makes of it if none is set.
HOSTS = [
    ("fileserver-no-01", "FILESERVER-NO-01"),
    ("fileserver-of-the-north-01.example.org", "FILESERVER-OF-THE-NORTH-01"),
    ("fs1", "FS1"),
    ("fs1.example.org", "FS1"),
    ("fileserver-no-01", "FILESERVER-NO-0"),  # 16 characters
    ("fileserver-no-1", "FILESERVER-NO-1"),  # 15 characters
    ("fileserver-of-the-north-01", "FILESERVER-OF-T"),
    ("fileserver-of-the-north-01.example.org", "FILESERVER-OF-T"),
]


@pytest.mark.parametrize("host, default", HOSTS)
def test_host_name_is_refused_even_if_truncated_by_samba(monkeypatch, host, default):
    with pytest.raises(Refused, match="is this host's own name"):
        name(host, default + "\n", monkeypatch)


@pytest.mark.parametrize("host, default", HOSTS)
def test_name_other_than_the_host_name_is_accepted(monkeypatch, host, default):
    for other in default[:2], "X" + default, "CLUSTER":
        assert name(host, other + "\n", monkeypatch) == other


def test_truncated_names_of_two_similar_hosts_are_both_refused(monkeypatch):
    for number in range(2):
        with pytest.raises(Refused):
            name(f"fileserver-no-{number}{number}", f"FILESERVER-NO-{number}", monkeypatch)


SET = ["netbios name = FS1", "  NetBIOS Name=fs1 ", "[global]\n\tnetbiosname = FS1\r", "x = y\nnetbios  name = FS1"]
NOT_SET = ["", "# netbios name = FS1", "; netbios name = FS1", "netbios name =\nFS1", "netbios aliases = FS1"]
# Samba ignores what stands in the section of a share, and answers with the host's name.
NOT_SET += ["name = FS1", "[global]\n[share]\nnetbios name = CLUSTER", "netbios name = FS12", "netbios name = FS"]


@pytest.mark.parametrize("text, is_set", [(text, True) for text in SET] + [(text, False) for text in NOT_SET])
def test_cluster_may_have_a_host_name_that_is_set_in_smb_conf(monkeypatch, tmp_path, text, is_set):
    path = tmp_path / "smb.conf"
    path.write_text(text + "\n")
    err = f"x\nLoad smb config files from {path}\ny\n"
    if is_set:
        assert name("fs1", "FS1\n", monkeypatch, err) == "FS1"
    else:
        with pytest.raises(Refused):
            name("fs1", "FS1\n", monkeypatch, err)


def test_smb_conf_may_hold_any_bytes(monkeypatch, tmp_path):
    path = tmp_path / "smb.conf"
    path.write_bytes(b"; \xe9 \xff\n\tnetbios name = fs1\n")
    assert name("fs1", "FS1\n", monkeypatch, f"Load smb config files from {path}\n") == "FS1"


@pytest.mark.parametrize("path", ["none", "a\0b", "\u20ac", "x" * 5000])
def test_host_name_is_refused_if_smb_conf_cannot_be_read(monkeypatch, tmp_path, path):
    with pytest.raises(Refused, match="own name"):
        name("fs1", "FS1\n", monkeypatch, f"Load smb config files from {tmp_path}/{path}\n")


def test_host_name_is_refused_if_reading_smb_conf_is_forbidden(monkeypatch):
    def open_it(*args):
        raise PermissionError

    monkeypatch.setattr(cluster_name, "open", open_it, raising=False)
    with pytest.raises(Refused, match="own name"):
        name("fs1", "FS1\n", monkeypatch, "Load smb config files from /etc/samba/smb.conf\n")


BAD = [
    (Command(late=True), Unavailable, "no answer in"),
    (Command(status=NOT_RUN, err="No such file"), Refused, "cannot be run \\(No such file\\)"),
    (Command(status=-9), Unavailable, "testparm was ended by signal 9"),
    (Command("X" * 65537, status=-9), Refused, "gave no netbios name"),
    (Command("X\n", "broken", status=1), Refused, "broken"),
    (Command(""), Refused, "it printed nothing"),
    (Command("\n"), Refused, "it printed nothing"),
    (Command("A/B\n"), Refused, "cannot name a lock"),
    (Command("X\n\n"), Refused, "cannot name a lock"),
    (Command("X Y\n"), Refused, "cannot name a lock"),
]


@pytest.mark.parametrize("command, error, says", BAD)
def test_bad_answer_of_testparm_gives_no_name_and_names_netbios_name(command, error, says):
    with pytest.raises(error, match=says) as raised:
        find(command, None, 0)
    assert raised.type is error and "netbios_name" in str(raised.value)


def test_testparm_is_started_unless_it_runs_and_keeps_to_the_deadline(monkeypatch):
    started = Command("MINE\n")
    monkeypatch.setattr(cluster_name, "testparm", lambda: started)
    assert find(None, "waiter", 7.0) == "MINE" and started.asked == ("waiter", 7.0)
    assert find(Command("RUNS\n"), None, 0) == "RUNS"


def test_last_thirty_words_of_testparm_are_quoted():
    words = [f"word{number}" for number in range(31)]
    with pytest.raises(Refused) as refused:
        find(Command("", " ".join(words), 1), None, 0)
    assert f"(1: {' '.join(words[1:])}):" in str(refused.value)


@pytest.mark.parametrize("text", ["A", "a-b.c", "X" * 63, "!@$&()_'{}~^", "...", ".a"])
def test_valid_path_component_is_accepted_as_name(text):
    assert path_component(text) == text


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a b", "X" * 64, "ä", "a\n", "\na", "a%2f", "a#", "a?"])
def test_invalid_path_component_is_refused_as_name(text):
    with pytest.raises(ValueError):
        path_component(text)


@pytest.mark.parametrize(
    "error, says",
    [
        (None, "correct smb.conf"),
        (FileNotFoundError(), "correct smb.conf"),
        (PermissionError(), "reading it is not permitted (SELinux?): see SELINUX in ctdb-etcd(7)"),
    ],
)
def test_unreadable_smb_conf_is_reported_with_its_reason(monkeypatch, tmp_path, error, says):
    path = tmp_path / "smb.conf"
    path.write_text("")

    def open_it(*args, **options):
        if error:
            raise error
        return open(*args, **options)

    monkeypatch.setattr(cluster_name, "open", open_it, raising=False)
    with pytest.raises(Refused) as refused:
        find(Command("", f"Load smb config files from {path}\nError loading services.\n", 1), None, 0)
    assert f": {says}, or set netbios_name" in str(refused.value)
