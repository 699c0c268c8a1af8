# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of changes under a real CTDB cluster: passwords, certificates, where etcd is.

The leader and its helper process stay throughout. Contenders, one a second, answer `1`.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import Any, Iterator

import pytest

from tests.support.certs import Renewal
from tests.support.cluster import DIRECTORY, NAME, Cluster
from tests.support.holder_watch import HolderWatch
from tests.support.machine import wait_until

pytestmark = pytest.mark.slow

SANS = ",".join(f"IP:127.0.{net}.{n}" for net, n in [(0, 1), (24, 1), (24, 2), (24, 3)])


# The contenders' stderr, inside the namespace.
LOG = "/run/contenders.log"


class Contenders:
    """Runs a contender each second on the next node, as ctdbd does to check a recovery; `answers` are all so far."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.answers: list[str] = []
        # Held while a contender runs.
        self.running = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._end.wait(1):
            node = self._cluster.nodes[len(self.answers) % len(self._cluster.nodes)]
            command = ["sh", "-c", f'exec "$0" 2>>{LOG}', node.lock_command.split()[0]]
            with self.running:
                # Run without the node's -v, so that HolderWatch does not count it.
                answer = self._cluster.namespace.run(*command, env={"CTDB_BASE": node.base}, check=False)
            self.answers.append(answer)

    def __enter__(self) -> Contenders:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


class Nodes:
    """The configuration files of all nodes. Single keys of them change."""

    def __init__(self, cluster: Cluster, **keys: Any) -> None:
        self._cluster = cluster
        self._keys = keys
        self.write()

    def write(self, **keys: Any) -> None:
        """Write the files. `host` lists all of etcd's ports at the address of each node."""
        self._keys.update(keys)
        for node in self._cluster.nodes:
            host = ", ".join(f"127.0.24.{node.number}:{port}" for port in self._cluster.etcd.ports)
            known = {"host": host} if "srv_domain" not in self._keys else {}
            # On a busy machine a start takes seconds.
            node.write_lock_conf({"netbios_name": NAME, "acquire_timeout": 10, **known, **self._keys})


@contextmanager
def undisturbed(cluster: Cluster) -> Iterator[Contenders]:
    """Check that the leader and its helper stay, contenders answer `1` and CTDB logs no trouble with the lock."""
    cluster.wait_healthy(timeout=120)
    # Otherwise CTDB refuses the next recovery for 10 s.
    cluster.set_tunable("RerecoveryTimeout", 1)
    leader = cluster.wait_leader(timeout=60)
    with HolderWatch(cluster) as watch, Contenders(cluster) as contenders:
        cluster.wait_until(lambda: len(watch.living()) == 1, "the holder to be seen", timeout=60)
        before = [(life.node, life.pid) for life in watch.holders()]
        yield contenders
        cluster.recover(timeout=60)
        cluster.wait_healthy(timeout=120)
        seen = len(contenders.answers)
        wait_until(lambda: len(contenders.answers) > seen + 3, "more contenders", timeout=60)
        assert [(life.node, life.pid) for life in watch.holders()] == before and len(watch.living()) == 1
    assert set(contenders.answers) == {"1"}, cluster.namespace.outside(LOG).read_text()
    assert cluster.leader() is leader
    # On a busy machine a start takes more than a second.
    assert [line for line in cluster.log_lines_of_trouble() if "High RECLOCK latency" not in line] == []


def times_read_again(cluster: Cluster) -> int:
    """Return how many times the holder has read its file again."""
    return sum(node.log().count("has changed and was read again") for node in cluster.nodes)


def rest_for_a_lease() -> None:
    """Wait so long that a lock that is no longer renewed is lost."""
    time.sleep(10)


def enable_auth(cluster: Cluster) -> None:
    """Create root and the manual's user, and enable auth."""
    ctl = cluster.etcd.ctl
    ctl("role", "add", "ctdb")
    ctl("role", "grant-permission", "ctdb", "--prefix=true", "readwrite", DIRECTORY)
    for user, role in (("root", "root"), ("ctdb", "ctdb")):
        ctl("user", "add", f"{user}:old")
        ctl("user", "grant-role", user, role)
    ctl("auth", "enable")
    cluster.etcd.credentials = ["--user", "root:old"]


def test_login_is_switched_on_and_off_and_the_password_changed() -> None:
    cluster = Cluster.of_program(etcd_members=3)
    # A cheap hash, so that logins cost etcd little.
    cluster.etcd.args = ["--bcrypt-cost=4"]
    with cluster:
        ctl, nodes = cluster.etcd.ctl, Nodes(cluster, username="ctdb", password="old")

        def change(password: str) -> None:
            ctl("user", "passwd", "ctdb", "--interactive=false", typed=password)

        with undisturbed(cluster) as contenders:
            enable_auth(cluster)
            rest_for_a_lease()
            # A contender between the two steps would be refused, as the manual says.
            with contenders.running:
                nodes.write(password="second")
                change("second")
            rest_for_a_lease()
            with contenders.running:
                change("third")
                nodes.write(password="third")
            rest_for_a_lease()
            assert times_read_again(cluster) == 2
            # A change to another user needs no pause of the contenders between the steps.
            ctl("user", "add", "other:fourth")
            ctl("user", "grant-role", "other", "ctdb")
            nodes.write(username="other", password="fourth")
            with contenders.running:
                pass  # a contender that has read the old file has ended
            ctl("user", "delete", "ctdb")
            rest_for_a_lease()
            assert times_read_again(cluster) == 3
            ctl("auth", "disable")
            cluster.etcd.credentials = []
            rest_for_a_lease()


def test_certificates_and_both_authorities_are_renewed() -> None:
    cluster = Cluster.of_program(etcd_members=3)
    etcd, pki = cluster.etcd, cluster.namespace.outside("/run/pki")
    pki.mkdir()
    files = Renewal(pki, "/run/pki", SANS)
    server, client = files.server, files.client
    etcd.protocol = "https"
    etcd.args = [*files.etcd_args, "--cert-file", server.cert, "--key-file", server.key]
    etcd.credentials = ["--cacert", client.ca, "--cert", client.cert, "--key", client.key]
    Nodes(cluster, **files.keys)
    with cluster, undisturbed(cluster) as contenders:
        for step in files.steps():
            with contenders.running:
                step()
            for port in etcd.ports:
                etcd.stop_member(port)
                etcd.start_member(port)
                etcd.wait_healthy()
        rest_for_a_lease()


def test_members_of_etcd_are_replaced_until_no_old_address_is_left() -> None:
    with Cluster.of_program(etcd_members=3) as cluster:
        nodes = Nodes(cluster)
        with undisturbed(cluster):
            for port in list(cluster.etcd.ports):
                cluster.etcd.replace_member(port, port + 1000)
                nodes.write()
                rest_for_a_lease()
            assert times_read_again(cluster) == 1


class NameServer:
    """The name server of the whole namespace: the SRV records of the domain `test` are those of etcd's members."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        cluster.namespace.outside("/run/resolv.conf").write_text("nameserver 127.0.0.1\n")
        cluster.namespace.run("mount", "--bind", "/run/resolv.conf", "/etc/resolv.conf")

    def serve(self) -> None:
        """Serve the current members of etcd."""
        namespace = self._cluster.namespace
        namespace.kill([process.pid for process in namespace.processes() if process.argv[:1] == ("dnsmasq",)])
        command = "dnsmasq --conf-file=/dev/null --no-resolv --no-hosts --user=root --pid-file= --local=/test/"
        command += " --listen-address=127.0.0.1 --bind-interfaces"
        for port in self._cluster.etcd.ports:
            command += f" --host-record=etcd{port}.test,127.0.24.9"
            command += f" --srv-host=_etcd-client._tcp.test,etcd{port}.test,{port}"
        namespace.run(*command.split())


def test_members_of_etcd_are_replaced_by_their_srv_records() -> None:
    cluster = Cluster.of_program(etcd_members=3)
    names = NameServer(cluster)
    names.serve()
    Nodes(cluster, srv_domain="test")
    with cluster, undisturbed(cluster) as contenders:
        for port in list(cluster.etcd.ports):
            cluster.etcd.replace_member(port, port + 1000)
            # The name server restarts for that. A query meanwhile would be lost.
            with contenders.running:
                names.serve()
            rest_for_a_lease()
