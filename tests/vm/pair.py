# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Two machines that are a CTDB cluster, with etcd on the second one; the package is installed by apt on both.

The tests go by CTDB's log: its lines have the machine's time, and the helper's own lines are among them (-v).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Callable, Mapping, Optional, TypeVar

from tests.support.machine import Port, wait_until

from .machine import Machine

T = TypeVar("T")

# What smb.conf calls the cluster, so that the lock's name is testparm's.
NAME = "VMTEST"
DIRECTORY = f"/_locks/_ctdb/{NAME}/"
HELPER = "/usr/libexec/ctdb/ctdb_etcd_lock"
MODULE = "/usr/share/selinux/packages/ctdb_etcd.cil"
LOG = "/var/log/ctdb/log.ctdb"
# What CTDB logs when a helper has answered `0`.
TAKEN = "Cluster lock taken successfully"
# In seconds. Generous, for emulated machines on a shared one: what takes seconds here may take a minute there.
SOON = 240

_CTDB_CONF = f"""[logging]
    location = file:{LOG}
    log level = NOTICE
[cluster]
    cluster lock = !{HELPER} -v
"""


class Pair:
    """`nodes[0]` and `nodes[1]`, which has etcd. CTDB does not run yet."""

    def __init__(self, directory: Path, image: Path, files: Path) -> None:
        self._ports = [Port(), Port()]
        self.nodes = [Machine(number, directory, self._ports, image, files) for number in (1, 2)]
        self.etcd = self.nodes[1]
        self.etcdctl = "etcdctl"

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        for port in self._ports:
            port.close()

    def on_both(self, action: Callable[[Machine], T]) -> list[T]:
        """Its results; both at one time, since each machine has a processor of its own."""
        pool = ThreadPoolExecutor(2)
        try:
            return list(pool.map(action, self.nodes))
        finally:
            # If we are interrupted: the threads end with the machines, which are ended next.
            pool.shutdown(wait=False)

    def set_up(self) -> None:
        """Boot, install, configure; etcd runs afterwards."""
        self.on_both(self._set_up)
        self.configure_etcd({})

    def _set_up(self, node: Machine) -> None:
        node.wait_boot()
        node.run("DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install /root/ctdb-etcd_*.deb")
        node.write("/etc/ctdb/nodes", "".join(f"{machine.address}\n" for machine in self.nodes))
        node.write("/etc/ctdb/ctdb.conf", _CTDB_CONF)
        # It bans a node whose helper was not given the processor in time, as may happen here, for five minutes.
        node.write("/etc/ctdb/ctdb.tunables", "EnableBans=0\n")
        node.write("/etc/samba/smb.conf", f"[global]\n    netbios name = {NAME}\n")
        self.configure(node)

    def configure(self, node: Machine, **keys: object) -> None:
        """The whole of the node's ctdb_etcd_lock.conf: etcd by its name, and these keys."""
        keys = {"host": self.etcd.name, **keys}
        node.write("/etc/ctdb/ctdb_etcd_lock.conf", "".join(f"{k} = {v}\n" for k, v in keys.items()), "600")

    def configure_etcd(self, variables: Mapping[str, str], protocol: str = "http") -> None:
        """(Re)start etcd with these on top of its addresses, and wait until it serves."""
        urls = f"{protocol}://{self.etcd.address}:2379"
        settings = {"ETCD_LISTEN_CLIENT_URLS": urls, "ETCD_ADVERTISE_CLIENT_URLS": urls, **variables}
        self.etcdctl = f"etcdctl --endpoints {urls}"
        self.etcd.write("/etc/default/etcd", "".join(f'{name}="{value}"\n' for name, value in settings.items()))
        self.etcd.run("systemctl restart etcd")

    def load_module(self) -> None:
        """What SELinux must allow the helper, as the man page has it."""
        self.on_both(lambda node: node.run(f"semodule -l | grep -qx ctdb_etcd || semodule -i {MODULE}"))

    def other(self, node: Machine) -> Machine:
        return self.nodes[2 - node.number]

    def start(self, node: Machine) -> None:
        node.run("systemctl start ctdb")

    def wait_leader(self, node: Machine, nodes: int = 2) -> Machine:
        """The leader, once the node sees that many nodes OK under it and no recovery."""
        condition = (
            f"s=$(timeout 8 ctdb status) && [ $(echo \"$s\" | grep -c '^pnn:.* OK') = {nodes} ] && "
            "echo \"$s\" | grep -q 'Recovery mode:NORMAL' && echo \"$s\" | sed -n 's/^Leader:\\([0-9]\\)$/\\1/p'"
        )
        return self.nodes[int(self.wait(node, condition))]

    def led_by_first(self) -> Machine:
        """Let CTDB run on both nodes, with the lock on the first one, which is returned."""
        first, second = self.nodes
        self.on_both(self.start)
        if self.wait_leader(first) is not first:
            second.run("systemctl stop ctdb")
            self.wait_leader(first, nodes=1)
            self.start(second)
        assert self.wait_leader(second) is first, self.describe()
        return first

    def wait(self, node: Machine, condition: str) -> str:
        """Until a command prints something, which is returned."""
        return self.until(lambda: node.run(condition, check=False).strip(), f"{node.name}: {condition}")

    def until(self, condition: Callable[[], T], what: str) -> T:
        """Until it is true; a failure shows the end of both nodes' logs, and the lock's keys."""
        try:
            return wait_until(condition, SOON, what, 0.3)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.describe()}") from None

    def describe(self) -> str:
        show = f"systemctl is-active ctdb etcd; ctdb -t 5 status; tail -n 60 {LOG}; date +%T.%N"
        texts = [f"== {node.name}\n{node.run(show, check=False)}" for node in self.nodes if node.running]
        return "\n".join([*texts, self.etcd.run(f"timeout 20 {self.etcdctl} get --prefix {DIRECTORY}", check=False)])

    def logged(self, node: Machine, text: str, after: float) -> Optional[float]:
        """The time (of the node's clock) of the first line with this text in CTDB's log after that time."""
        lines = [line.partition(" ") for line in node.run(f"cat {LOG}", check=False).splitlines() if text in line]
        moments = (datetime.fromisoformat(moment).timestamp() for moment, _, _ in lines)
        return next((moment for moment in moments if moment >= after), None)

    def wait_log(self, node: Machine, text: str, after: float) -> float:
        """As `logged`, once it is there."""
        moment = self.until(lambda: self.logged(node, text, after), f"{node.name}: {text!r} in CTDB's log")
        assert moment is not None
        return moment

    def count(self, node: Machine, text: str) -> int:
        """The lines with this text in CTDB's log."""
        return int(node.run(f"grep -c -F '{text}' {LOG}", check=False))

    def keys(self) -> str:
        """Those of the lock that etcd has, whatever its name."""
        return self.etcd.run(f"{self.etcdctl} get --prefix --keys-only /_locks/")

    def helper(self, node: Machine) -> str:
        """The process ID of the helper that holds the lock there; empty: none runs."""
        return node.run("pgrep -o -x ctdb_etcd_lock", check=False).strip()


def measured(what: str, seconds: float) -> None:
    """Show a figure (pytest -s)."""
    print(f"\n  {what}: {seconds:.1f} s", end="", flush=True)
