# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Soak test of a holder: everything that may change under it changes at random. `make check-long` takes ten minutes.

It keeps its lock, contenders answer `1`, and at the end it uses no more memory, descriptors or threads than before.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import time
from pathlib import Path

import pytest

from tests.support.certs import Renewal
from tests.support.helper import Helper
from tests.support.login import add_user, change_password, with_login
from tests.support.machine import wait_until
from tests.support.proxy import Proxy

# Each run has a seed of its own: what is found once is a fault. CI does not try again.
pytestmark = [pytest.mark.slow, pytest.mark.flaky(reruns=0)]

SECONDS = float(os.environ.get("SOAK_SECONDS", "30"))
# kB by which memory may grow after the first quarter of a ten-minute run: 50 of Python's allocations.
GROWTH = 512
# Bytes: at least three renewals.
SOME_RENEWALS = 2500


class Life:
    """etcd, the holder's files, and the changes made to them."""

    def __init__(self, etcd, path, files, user, chance):
        self.etcd, self.path, self.files, self.user, self.chance = etcd, path, files, user, chance
        self.password = "first"
        self.proxies = [Proxy(endpoint) for endpoint in etcd.endpoints]
        self.write()

    def write(self, more=""):
        """Write the file as it should be, plus `more`."""
        keys = {"host": ", ".join(proxy.endpoint for proxy in self.proxies), **self.files.keys}
        keys.update(netbios_name=self.name, refresh=0.2, api="3", username=self.user, password=self.password)
        # On a busy machine a start takes seconds.
        keys["acquire_timeout"] = 20
        text = "".join(f"{key} = {value}\n" for key, value in keys.items())
        new = self.path.with_suffix(".new")
        new.write_text(text + more)
        new.chmod(0o600)
        new.rename(self.path)

    @property
    def name(self):
        return self.user.partition("-")[2]

    def sent(self):
        """Return the number of bytes sent to etcd."""
        return sum(proxy.seen().bytes_to_etcd for proxy in self.proxies)

    def password_changes(self):
        self.password = secrets.token_hex(4)
        steps = [self.write, lambda: change_password(self.etcd, self.user, self.password)]
        for step in self.chance.sample(steps, 2):
            step()

    def certificate_is_renewed(self):
        self.files.certify(self.chance.choice(["server", "client"]), self.files.old)

    def endpoint_moves(self):
        at = self.chance.randrange(3)
        old, self.proxies[at] = self.proxies[at], Proxy(self.etcd.endpoints[at])
        self.write()
        old.close()

    def all_endpoints_move(self):
        old, self.proxies = self.proxies, [Proxy(endpoint) for endpoint in self.etcd.endpoints]
        self.write()
        for proxy in old:
            proxy.close()

    def member_is_restarted(self):
        self.chance.choice(self.etcd.members).restart()
        self.etcd.wait_healthy()

    def connections_end(self):
        for proxy in self.proxies:
            proxy.reset()

    def file_is_broken_for_a_while(self):
        self.write("nonsense = 1\n")
        self.etcd_is_away_for_a_moment()
        self.write()

    def other_lock_is_named_for_a_while(self):
        self.write("lock_ttl = 20\nlocks_dir = elsewhere\n")
        self.etcd_is_away_for_a_moment()
        self.write()

    def etcd_is_away_for_a_moment(self):
        for proxy in self.proxies:
            proxy.refuse()
        time.sleep(0.5)
        for proxy in self.proxies:
            proxy.forward()

    def happen(self):
        """Make a random one of the changes above."""
        names = [name for name in vars(Life) if name[0] != "_" and name not in ("write", "name", "sent", "happen")]
        getattr(self, self.chance.choice(names))()


def used(pid):
    """Return the memory in kB, the number of descriptors and the number of threads."""
    status = Path(f"/proc/{pid}/status").read_text()
    memory, threads = (int(re.search(rf"^{name}:\s+(\d+)", status, re.M)[1]) for name in ("VmRSS", "Threads"))
    return memory, len(os.listdir(f"/proc/{pid}/fd")), threads


def test_holder_outlives_every_change_and_uses_no_more_memory(tmp_path, lock_name):
    files = Renewal(tmp_path)
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    # A cheap hash, so that logins cost etcd little.
    with with_login([*files.etcd_args, "--bcrypt-cost=4"], members=3, tls=files.server) as etcd:
        user = add_user(etcd, lock_name, password="first")
        life = Life(etcd, tmp_path / "x.conf", files, user, random.Random(seed))
        try:
            with Helper(life.path) as holder:
                assert holder.status() == "0", holder.describe()
                (key,) = etcd.keys(f"/_locks/_ctdb/{lock_name}/")
                uses = _live(life, holder)
                assert etcd.keys(f"/_locks/_ctdb/{lock_name}/") == [key]
        finally:
            for proxy in life.proxies:
                proxy.close()
    print(*uses, sep="\n")
    quarter = len(uses) // 4
    early, late = uses[quarter : 2 * quarter], uses[-quarter:]
    for at, growth in enumerate((GROWTH, 1, 0)):
        assert max(use[at] for use in late) <= max(use[at] for use in early) + growth


def _live(life, holder):
    """Make changes for SECONDS; return what the holder used after each of them."""
    uses = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        life.happen()
        with Helper(life.path) as contender:
            assert contender.status() == "1", f"{contender.describe()}\n{holder.describe()}"
        sent = life.sent()
        wait_until(lambda: life.sent() > sent + SOME_RENEWALS or not holder.alive, "renewals")
        assert holder.alive, holder.describe()
        uses.append(used(holder.pid))
    return uses
