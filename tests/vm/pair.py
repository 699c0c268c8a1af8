# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Two machines that form a CTDB cluster, with etcd on the second one. apt installs the package on both.

The tests read CTDB's log. Its lines have the machine's time, and the helper's own lines are among them (-v).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Callable, Mapping, Optional, TypeVar

from tests.support.machine import Port, wait_until

from .machine import Machine

T = TypeVar("T")

# The cluster's name in smb.conf, so that the lock's name is the one that testparm prints.
NAME = "VMTEST"
DIRECTORY = f"/_locks/_ctdb/{NAME}/"
HELPER = "/usr/libexec/ctdb/ctdb_etcd_lock"
MODULE = "/usr/share/selinux/packages/ctdb_etcd.cil"
LOG = "/var/log/ctdb/log.ctdb"
# CTDB logs this when a helper has answered `0`.
TAKEN = "Cluster lock taken successfully"
# Seconds. Generous: what takes seconds elsewhere may take a minute on emulated machines on a shared host.
SOON = 240

_CTDB_CONF = f"""[logging]
    location = file:{LOG}
    log level = NOTICE
[cluster]
    cluster lock = !{HELPER} -v
"""


class Pair:
    """`nodes[0]` and `nodes[1]`; the latter has etcd. CTDB does not run yet."""

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
        """Run the action on both machines at once and return the results; each machine has a processor of its own."""
        pool = ThreadPoolExecutor(2)
        try:
            return list(pool.map(action, self.nodes))
        finally:
            # After an interrupt, the threads end with the machines, which are ended next.
            pool.shutdown(wait=False)

    def set_up(self) -> None:
        """Boot the machines, install and configure the package, and start etcd."""
        self.on_both(self._set_up)
        self.configure_etcd({})

    def _set_up(self, node: Machine) -> None:
        node.wait_boot()
        node.run("DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install /root/ctdb-etcd_*.deb")
        node.write("/etc/ctdb/nodes", "".join(f"{machine.address}\n" for machine in self.nodes))
        node.write("/etc/ctdb/ctdb.conf", _CTDB_CONF)
        # Here a helper may not get the processor in time. CTDB would ban its node for five minutes.
        node.write("/etc/ctdb/ctdb.tunables", "EnableBans=0\n")
        node.write("/etc/samba/smb.conf", f"[global]\n    netbios name = {NAME}\n")
        self.configure(node)

    def configure(self, node: Machine, **keys: object) -> None:
        """Write the node's whole ctdb_etcd_lock.conf: etcd by its name, and these keys."""
        keys = {"host": self.etcd.name, **keys}
        node.write("/etc/ctdb/ctdb_etcd_lock.conf", "".join(f"{k} = {v}\n" for k, v in keys.items()), "600")

    def configure_etcd(self, variables: Mapping[str, str], protocol: str = "http") -> None:
        """(Re)start etcd with these variables on top of its addresses, and wait until it serves."""
        urls = f"{protocol}://{self.etcd.address}:2379"
        settings = {"ETCD_LISTEN_CLIENT_URLS": urls, "ETCD_ADVERTISE_CLIENT_URLS": urls, **variables}
        self.etcdctl = f"etcdctl --endpoints {urls}"
        self.etcd.write("/etc/default/etcd", "".join(f'{name}="{value}"\n' for name, value in settings.items()))
        self.etcd.run("systemctl restart etcd")

    def load_module(self) -> None:
        """Load the SELinux module, which allows what the helper needs, as the man page says."""
        self.on_both(lambda node: node.run(f"semodule -l | grep -qx ctdb_etcd || semodule -i {MODULE}"))

    def other(self, node: Machine) -> Machine:
        return self.nodes[2 - node.number]

    def start(self, node: Machine) -> None:
        node.run("systemctl start ctdb")

    def wait_leader(self, node: Machine, nodes: int = 2) -> Machine:
        """Wait until the node sees this many nodes OK under a leader and no recovery; return the leader."""
        condition = (
            f"s=$(timeout 8 ctdb status) && [ $(echo \"$s\" | grep -c '^pnn:.* OK') = {nodes} ] && "
            "echo \"$s\" | grep -q 'Recovery mode:NORMAL' && echo \"$s\" | sed -n 's/^Leader:\\([0-9]\\)$/\\1/p'"
        )
        return self.nodes[int(self.wait(node, condition))]

    def led_by_first(self) -> Machine:
        """Run CTDB on both nodes, with the lock on the first one, and return that one."""
        first, second = self.nodes
        self.on_both(self.start)
        # A holder that gets no processor for a lease loses the lock, and the other node leads again.
        for _ in range(3):
            if self.wait_leader(first) is first is self.wait_leader(second):
                return first
            second.run("systemctl stop ctdb")
            self.wait_leader(first, nodes=1)
            self.start(second)
        raise AssertionError(self.describe())

    def wait(self, node: Machine, condition: str) -> str:
        """Wait until a command prints something, and return that."""
        return self.until(lambda: node.run(condition, check=False).strip(), f"{node.name}: {condition}")

    def until(self, condition: Callable[[], T], what: str) -> T:
        """Wait until the condition is true. A failure shows the end of both nodes' logs and the lock's keys."""
        try:
            return wait_until(condition, what, timeout=SOON, pause=0.3)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.describe()}") from None

    def describe(self) -> str:
        show = f"systemctl is-active ctdb etcd; ctdb -t 5 status; tail -n 60 {LOG}; date +%T.%N"
        texts = [f"== {node.name}\n{node.run(show, check=False)}" for node in self.nodes if node.running]
        return "\n".join([*texts, self.etcd.run(f"timeout 20 {self.etcdctl} get --prefix {DIRECTORY}", check=False)])

    def logged(self, node: Machine, text: str, after: float) -> Optional[float]:
        """Return the time (of the node's clock) of CTDB's first log line with this text after that time, or None."""
        lines = [line.partition(" ") for line in node.run(f"cat {LOG}", check=False).splitlines() if text in line]
        moments = (datetime.fromisoformat(moment).timestamp() for moment, _, _ in lines)
        return next((moment for moment in moments if moment >= after), None)

    def wait_log(self, node: Machine, text: str, after: float) -> float:
        """Wait for the line that `logged` looks for, and return its time."""
        moment = self.until(lambda: self.logged(node, text, after), f"{node.name}: {text!r} in CTDB's log")
        assert moment is not None
        return moment

    def count(self, node: Machine, text: str) -> int:
        """Return the number of lines with this text in CTDB's log."""
        return int(node.run(f"grep -c -F '{text}' {LOG}", check=False))

    def keys(self) -> str:
        """Return the lock keys in etcd, whatever the lock's name."""
        return self.etcd.run(f"{self.etcdctl} get --prefix --keys-only /_locks/")

    def helper(self, node: Machine) -> str:
        """Return the process ID of the helper that holds the lock on this node, or an empty string if none runs."""
        return node.run("pgrep -o -x ctdb_etcd_lock", check=False).strip()


def measured(what: str, seconds: float) -> None:
    """Print a figure (pytest -s)."""
    print(f"\n  {what}: {seconds:.1f} s", end="", flush=True)
