# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the clients of a running helper after its file or its certificates have changed."""

from __future__ import annotations

import os
import ssl
import threading
import time
from types import SimpleNamespace

import pytest

from ctdb_etcd.client import endpoints, srv, tls
from ctdb_etcd.client.endpoints import Endpoints
from ctdb_etcd.errors import OtherCluster, Refused
from tests.support.conf import parse
from tests.support.fake_network import A, B, C, FINE, Cluster, answer, says
from tests.support.fakes import Log
from tests.unit.client.test_login import Guarded

REFUSED = says("etcdserver: permission denied")


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    cluster = Cluster(monkeypatch)
    cluster.configured(1)
    cluster.path = tmp_path / "x.conf"
    return cluster


def write(cluster, text):
    """Write a file that differs from the one that the helper read when it started."""
    cluster.path.write_text(text)
    cluster.client._config.follow(str(cluster.path), b"something else", cluster.log)


def test_endpoints_of_the_file_read_again_end_the_old_connection(cluster):
    write(cluster, f"host = {B}, {C}\n")
    assert cluster.call() == FINE and cluster.client.endpoint == A
    cluster.a.serve = REFUSED
    assert cluster.call() == FINE and cluster.client.endpoint == B
    assert cluster.network.open() == [B]


def test_user_of_the_file_read_again_logs_in(cluster):
    guard = Guarded("new")
    cluster.a.serve, guard.server = guard, cluster.a
    write(cluster, f"host = {A}\nusername = u\npassword = new\n")
    assert cluster.call() == FINE and guard.tokens == 1


def test_token_of_the_old_user_is_not_used_for_the_new_one(cluster):
    guard = Guarded("new")
    guard.server = cluster.a
    write(cluster, f"host = {A}\nusername = u\npassword = new\n")
    cluster.client._login._token = "of another user"

    def serve(path, body):
        return REFUSED(path, body) if "of another user" in cluster.a.fields[-1].values() else guard(path, body)

    cluster.a.serve = serve
    assert cluster.call() == FINE


def test_cluster_of_the_lease_stays_if_the_file_names_another(cluster):
    assert cluster.call() == FINE
    cluster.b.serve = lambda path, body: [(0.0, answer(200, {"header": {"cluster_id": "78"}}))]
    write(cluster, f"host = {B}\nexpected_cluster_id = 4e\n")
    cluster.a.serve = REFUSED
    with pytest.raises(OtherCluster, match="it is of cluster 4e, not 4d"):
        cluster.call()


def test_lookup_of_the_old_domain_is_abandoned_and_its_answer_ignored(monkeypatch):
    asked, go_on = [], threading.Event()

    def look_up(domain, protocol):
        asked.append(domain)
        if domain == "old":
            go_on.wait(10)
        return [(domain, 1)]

    monkeypatch.setattr(srv, "look_up", look_up)
    config = parse("srv_domain = old\n")
    subject = Endpoints(config, endpoints.Patient(), Log())
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(TimeoutError):
        subject.find(time.monotonic() + 0.1)
    config.srv_domain, config.edition = "new", 1
    subject.find(time.monotonic() + 10)
    go_on.set()
    assert asked == ["old", "new"] and subject.names() == ["new:1"]
    deadline = time.monotonic() + 10
    while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) == before


def test_https_with_unusable_files_changes_no_setting():
    config = parse("host = a\n")
    subject = Endpoints(config, endpoints.Patient(), Log())
    config.protocol, config.ca_cert, config.hosts, config.edition = "https", "/none.pem", [("b", 1)], 1
    for _ in range(2):
        with pytest.raises(Refused, match="/none.pem"):
            subject.find(time.monotonic() + 1)
    assert subject.names() == ["a:2379"]
    config.protocol = "http"
    subject.find(time.monotonic() + 1)
    assert subject.names() == ["b:1"]


# Certificates


@pytest.fixture
def reading(monkeypatch, tmp_path):
    """Return a Tls that takes any file contents as certificates. `made` lists the contexts of its connections."""
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(name)

    def context(config):
        if "broken" in (tmp_path / "cert").read_text() or reading.scarce:
            raise Refused("cert: broken")
        return "".join((tmp_path / name).read_text() for name in ("ca", "cert", "key"))

    reading = SimpleNamespace(made=[], log=Log(), path=tmp_path, scarce=False)
    monkeypatch.setattr(tls, "context", context)
    monkeypatch.setattr(tls, "TlsStream", lambda sock, waiter, made, host, until: reading.made.append(made))
    config = SimpleNamespace(ca_cert=str(tmp_path / "ca"), cert=(str(tmp_path / "cert"), str(tmp_path / "key")))
    subject = tls.Tls(config, reading.log)
    reading.connect = lambda: subject.stream(None, None, "", 0)
    return reading


def test_files_that_have_not_changed_are_read_once(reading, monkeypatch):
    monkeypatch.setattr(tls, "context", None)
    reading.connect()
    assert reading.made == ["cacertkey"] and not reading.log.lines


@pytest.mark.parametrize("name", ["ca", "cert", "key"])
def test_each_changed_file_is_used_for_the_next_connection(reading, name):
    (reading.path / name).write_text(f"{name}2")
    reading.connect()
    assert f"{name}2" in reading.made[0]
    # Replace the file by rename, as mv does, with one of the same size and modification time.
    other = reading.path / "other"
    other.write_text(f"{name}3")
    status = (reading.path / name).stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(reading.path / name)
    reading.connect()
    assert f"{name}3" in reading.made[1]


def test_file_that_cannot_be_used_is_tried_at_each_connection(reading):
    (reading.path / "cert").write_text("broken")
    for _ in range(2):
        reading.connect()
    (reading.path / "cert").write_text("cert")
    reading.connect()
    assert reading.made == ["cacertkey"] * 3
    assert [line for line in reading.log.lines if "error" in line] == [
        "error: going on with the certificates that were read before: cert: broken"
    ]


def test_file_that_is_briefly_unreadable_is_read_later(reading):
    (reading.path / "cert").write_text("cert2")
    reading.scarce = True
    reading.connect()
    reading.scarce = False
    reading.connect()
    assert reading.made == ["cacertkey", "cacert2key"]


def test_system_certificate_store_is_one_of_the_files(monkeypatch, tmp_path):
    store = tmp_path / "store"
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    store.write_text("")
    assert ssl.get_default_verify_paths().cafile == str(store)
    config = SimpleNamespace(ca_cert=None, cert=None)
    before = tls.stamp(config)
    store.write_text("x")
    assert len(before) == 1 and tls.stamp(config) != before
