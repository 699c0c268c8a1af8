# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of CTDB's own files: whether nodes names another machine, and what ctdb.conf sets, whatever they contain.

198.51.100.0/24 and 2001:db8::/32 are documentation networks: they belong to no machine.
"""

from __future__ import annotations

import socket

import pytest

from ctdb_etcd.ctdb import settings


@pytest.fixture
def file(monkeypatch, tmp_path):
    monkeypatch.setenv("CTDB_BASE", str(tmp_path))
    return tmp_path / "nodes"


def test_missing_nodes_file_means_no_other_machine(file):
    assert settings.elsewhere() == ""


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"127.0.23.1\n127.0.23.2\n127.0.23.3\n",
        b"127.0.0.1",
        b"#198.51.100.1\n127.0.0.1\n# 198.51.100.2\n#\n",
        b"\n \n\t127.0.23.1 \r\n",
        b"node1\n198.51.100.1.5\n\xff\0\n198.51.100.1 # x\n",
    ],
)
def test_own_addresses_and_deleted_or_invalid_nodes_are_ignored(file, text):
    file.write_bytes(text)
    assert settings.elsewhere() == ""


@pytest.mark.parametrize(
    "text, address",
    [
        ("198.51.100.1\n198.51.100.2\n", "198.51.100.1"),
        ("127.0.0.1\n#198.51.100.1\n \t198.51.100.2 \n", "198.51.100.2"),
        ("nonsense\r\n2001:db8::1\r\n", "2001:db8::1"),
        ("# \u00e9\n198.51.100.1\n", "198.51.100.1"),
    ],
)
@pytest.mark.parametrize("binds_anything", ["0", "1"])
def test_the_first_address_of_another_machine_is_named(file, monkeypatch, tmp_path, text, address, binds_anything):
    switch = tmp_path / "ip_nonlocal_bind"
    switch.write_text(binds_anything + "\n")
    monkeypatch.setattr(settings, "_NONLOCAL_BIND", dict.fromkeys(settings._NONLOCAL_BIND, str(switch)))
    file.write_text(text)
    assert settings.elsewhere() == f"{address} (in {file})"


def test_own_addresses_are_known_even_if_any_address_can_be_bound(file, monkeypatch, tmp_path):
    switch = tmp_path / "ip_nonlocal_bind"
    switch.write_text("1\n")
    monkeypatch.setattr(settings, "_NONLOCAL_BIND", dict.fromkeys(settings._NONLOCAL_BIND, str(switch)))
    monkeypatch.setattr(socket.socket, "bind", lambda *_: None, raising=False)
    file.write_text("127.0.0.1\n127.0.23.1\n")
    assert settings.elsewhere() == ""
    file.write_text("127.0.0.1\n198.51.100.1\n")
    assert settings.elsewhere().startswith("198.51.100.1")


def test_nodes_list_of_ctdb_conf_is_read_in_place_of_the_nodes_file(file, tmp_path):
    conf, own = tmp_path / "ctdb.conf", tmp_path / "list"
    conf.write_text(f"[cluster]\n  nodes list = {own}\n")
    file.write_text("198.51.100.1\n")
    assert settings.elsewhere() == ""
    own.write_text("127.0.0.1\n198.51.100.2\n")
    assert settings.elsewhere() == f"198.51.100.2 (in {own})"
    conf.write_text("[cluster]\n  nodes list =\n")
    assert settings.elsewhere() == f"198.51.100.1 (in {file})"


def test_nodes_list_that_cannot_be_a_path_means_no_other_machine(tmp_path, file):
    (tmp_path / "ctdb.conf").write_text("[cluster]\nnodes list = /a\0b\n")
    assert settings.elsewhere() == ""


def test_nodes_list_by_a_command_means_other_machines(file, tmp_path):
    conf = tmp_path / "ctdb.conf"
    conf.write_text(f"[cluster]\nnodes list = !touch {tmp_path}/run\n")
    file.write_text("127.0.0.1\n")
    assert settings.elsewhere() == f"a node of 'nodes list' (in {conf})"
    assert not (tmp_path / "run").exists()


def test_nodes_file_is_that_of_ctdb(monkeypatch):
    opened = []

    def missing(path, **_):
        opened.append(path)
        raise FileNotFoundError

    monkeypatch.setattr(settings, "open", missing, raising=False)
    for base, path in ("/x", "/x/nodes"), ("", "/etc/ctdb/nodes"):
        monkeypatch.setenv("CTDB_BASE", base)
        assert settings.elsewhere() == "" and opened.pop() == path


class Socket:
    """A fake socket on a machine with only the addresses 192.0.2.1 and 2001:db8::1. `asked` lists the calls."""

    OURS = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}

    def __init__(self, family, kind):
        assert kind == socket.SOCK_DGRAM
        self.asked = [family]
        Socket.last = self.asked
        self.own = self.OURS[family]
        self.name = ("0.0.0.0", 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def bind(self, address):
        self.asked.append(("bind", address))
        if address[0] != self.own:
            raise OSError(99, "Cannot assign requested address")

    def connect(self, address):
        self.asked.append("connect")
        self.name = (self.own, 4)

    def getsockname(self):
        return self.name


@pytest.mark.parametrize("switch", ["0\n", None])
@pytest.mark.parametrize("address, ours", [("192.0.2.1", True), ("192.0.2.2", False), ("2001:db8::1", True)])
def test_own_address_is_one_that_can_be_bound(monkeypatch, tmp_path, switch, address, ours):
    monkeypatch.setattr(socket, "socket", Socket)
    path = tmp_path / "switch"
    if switch:
        path.write_text(switch)
    monkeypatch.setattr(settings, "_NONLOCAL_BIND", dict.fromkeys(settings._NONLOCAL_BIND, str(path)))
    assert settings._is_ours(address) is ours
    assert Socket.last[1:] == [("bind", (address, 0))]


@pytest.mark.parametrize("address, ours", [("192.0.2.1", True), ("192.0.2.2", False), ("127.0.0.2", True)])
def test_own_address_is_one_that_is_reached_from_itself(monkeypatch, tmp_path, address, ours):
    monkeypatch.setattr(socket, "socket", Socket)
    path = tmp_path / "switch"
    path.write_text("1\n")
    monkeypatch.setattr(settings, "_NONLOCAL_BIND", dict.fromkeys(settings._NONLOCAL_BIND, str(path)))
    assert settings._is_ours(address) is ours
    assert Socket.last[1:] == ["connect"]


# How long CTDB waits; tests/etcd/ctdb/test_settings.py compares with CTDB's own reading


TEXTS = [
    ("[cluster]\n    leader timeout = 12\n", 12),
    ("[logging]\nlocation = syslog\n[cluster]\ncluster lock = !/x -v\nleader timeout=3\n", 3),
    ("# [cluster]\n# leader timeout = 3\n", 5),
    ("[cluster]\nleader timeout = soon\n", 5),
    ("[cluster]\nleader timeout\n", 5),
    ("leader timeout = 3\n", 5),
    ("[legacy]\nleader timeout = 3\n", 5),
    ("\udcff[", 5),
    ("# \udcff\n[cluster]\nleader timeout = 7\n", 7),
    ("[cluster]\nleader timeout = 3\n[cluster]\nleader timeout = 4\n", 4),
    ("[cluster]\nany word\nleader timeout = 8\n", 8),
    ("[cluster]\ncluster lock = !/x\n  leader timeout = 9\n", 9),
    ("[ Cluster ]\nleader \t timeout = \\\n 6\n", 6),
    ("[cluster]\nLeader Timeout = 3\n", 5),
    (None, 5),
]


@pytest.mark.parametrize("text, seconds", TEXTS)
def test_leader_timeout_is_that_of_ctdb_conf_or_ctdbs_default(tmp_path, monkeypatch, text, seconds):
    monkeypatch.setenv("CTDB_BASE", str(tmp_path))
    if text is not None:
        (tmp_path / "ctdb.conf").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert settings.leader_timeout() == seconds
