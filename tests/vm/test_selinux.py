# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the package on machines where SELinux is enforcing, first without and then with its module.

Each boot takes minutes, so the tests form one story: each begins where the one before it has ended.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certs import Authority

from .machine import Machine
from .pair import DIRECTORY, HELPER, LOG, NAME, TAKEN, Pair, measured

HINT = "(SELinux?): see SELINUX in ctdb-etcd(7)"
USERS = """
user add root:root
user grant-role root root
role add ctdb
role grant-permission ctdb --prefix=true readwrite {directory}
user add ctdb:secret
user grant-role ctdb ctdb
auth enable
"""


def denials(node: Machine) -> list[str]:
    """Return what was denied to CTDB and everything that it runs since the boot."""
    events = "AVC,USER_AVC,SELINUX_ERR"
    found = node.run(f"ausearch --input-logs -m {events} --raw | grep -v ^type=SYSCALL | grep :ctdbd_t:", check=False)
    return [line for line in found.split("\n") if line]


@pytest.fixture(scope="module")
def first(pair: Pair) -> Machine:
    return pair.nodes[0]


@pytest.fixture(scope="module")
def second(pair: Pair) -> Machine:
    return pair.nodes[1]


@pytest.fixture(scope="module")
def denied_without_module(pair: Pair) -> list[int]:
    """Return how many denials each machine had before the module was loaded."""
    pair.load_module()
    return [len(denials(node)) for node in pair.nodes]


def test_ctdbd_on_enforcing_machine_is_confined(pair: Pair, first: Machine) -> None:
    assert pair.on_both(lambda node: node.run("getenforce")) == ["Enforcing\n"] * 2
    pair.start(first)
    pair.wait(first, "ps -o label= -C ctdbd | grep :ctdbd_t:")


def test_denied_testparm_without_module_is_explained_in_log(pair: Pair, first: Machine) -> None:
    pair.wait(first, f"grep -F 'testparm gave no netbios name' {LOG} | grep -F 'reading it is not permitted {HINT}'")
    assert [line for line in denials(first) if ":samba_etc_t:" in line]


def test_denied_connect_without_module_is_explained_in_log(pair: Pair, first: Machine, second: Machine) -> None:
    pair.configure(first, host=second.address, netbios_name=NAME)
    pair.wait(first, f"grep -F '{second.address}:2379: connecting is not permitted on this machine {HINT}' {LOG}")
    assert [line for line in denials(first) if "{ name_connect }" in line and 'comm="ctdb_etcd_lock"' in line]
    first.run("systemctl stop ctdb")


@pytest.mark.usefixtures("denied_without_module")
def test_leader_with_module_holds_lock_named_by_testparm(pair: Pair, first: Machine) -> None:
    pair.configure(first)
    pair.start(first)
    assert pair.wait_leader(first, nodes=1) is first
    assert DIRECTORY in pair.keys()
    assert ":ctdbd_t:" in first.run(f"ps -o label= -p {pair.helper(first)}")


def test_status_and_check_with_module_find_no_fault(first: Machine) -> None:
    assert first.run(f"{HELPER} --status").startswith(f"OK: {DIRECTORY} is held by node node1 ")
    first.run(f"{HELPER} --check")


def test_second_node_joins_and_sees_leader(pair: Pair, first: Machine, second: Machine) -> None:
    pair.start(second)
    assert pair.wait_leader(second) is first


def test_killed_helper_is_replaced(pair: Pair, first: Machine, second: Machine) -> None:
    leader = pair.wait_leader(second)
    helper, killed = pair.helper(leader), [node.now() for node in pair.nodes]
    leader.run(f"kill -KILL {helper}")
    pair.until(lambda: any(pair.logged(node, TAKEN, since) for node, since in zip(pair.nodes, killed)), "a new helper")
    pair.wait_leader(second)


def test_killed_ctdbd_is_replaced_by_other_node(pair: Pair, second: Machine) -> None:
    leader = pair.wait_leader(second)
    other = pair.other(leader)
    killed = other.now()
    leader.run("kill -KILL $(systemctl show -P MainPID ctdb)")
    measured("other node holds after the kill of ctdbd", pair.wait_log(other, TAKEN, killed) - killed)
    leader.run("systemctl stop ctdb")
    pair.start(leader)
    assert pair.wait_leader(leader) is other


def test_tls_and_login_work_with_files_in_etc_ctdb(pair: Pair, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.issue("server", san=f"DNS:{pair.etcd.name},IP:{pair.etcd.address}")
    client = authority.issue("client", san="")
    pair.on_both(lambda node: node.run("systemctl stop ctdb"))
    for name, *files in ("ca", authority.ca), ("server", server.cert, server.key), ("client", client.cert, client.key):
        for node in pair.nodes:
            node.write(f"/etc/ctdb/{name}.pem", "".join(Path(file).read_text() for file in files))
    pair.configure_etcd(
        {
            "ETCD_CERT_FILE": "/etc/ctdb/server.pem",
            "ETCD_KEY_FILE": "/etc/ctdb/server.pem",
            "ETCD_CLIENT_CERT_AUTH": "true",
            "ETCD_TRUSTED_CA_FILE": "/etc/ctdb/ca.pem",
            # A hash of the usual cost takes seconds here.
            "ETCD_BCRYPT_COST": "4",
        },
        "https",
    )
    pair.etcdctl += " --cacert /etc/ctdb/ca.pem --cert /etc/ctdb/client.pem --key /etc/ctdb/client.pem"
    for words in USERS.format(directory=DIRECTORY).strip().splitlines():
        pair.etcd.run(f"{pair.etcdctl} {words}")
    pair.etcdctl += " --user root:root"
    keys = {"protocol": "https", "ca_cert": "/etc/ctdb/ca.pem", "cert": "/etc/ctdb/client.pem"}
    for node in pair.nodes:
        pair.configure(node, **keys, username="ctdb", password="secret")
        pair.start(node)
    leader = pair.wait_leader(pair.nodes[1])
    assert leader.run(f"{HELPER} --status").startswith(f"OK: {DIRECTORY} is held by node {leader.name} ")
    leader.run(f"{HELPER} --check")


def test_stopped_leader_gives_lock_back(pair: Pair) -> None:
    leader = pair.wait_leader(pair.nodes[1])
    other = pair.other(leader)
    before, stopped = leader.now(), other.now()
    leader.run("systemctl stop ctdb")
    assert pair.logged(leader, "released", before)
    measured("other node holds after a stop of the leader", pair.wait_log(other, TAKEN, stopped) - stopped)


def test_nothing_is_denied_with_module(pair: Pair, denied_without_module: list[int]) -> None:
    after = [denial for node, count in zip(pair.nodes, denied_without_module) for denial in denials(node)[count:]]
    assert not after, "\n".join(after)
