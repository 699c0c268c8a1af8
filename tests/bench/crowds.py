# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Measures many contenders at one instant, many endpoints of which some are dead, and a file with all keys."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Iterator, Sequence

from tests.support import TREE
from tests.support.etcd import Etcd
from tests.support.helper import Helper, at_once
from tests.support.machine import Port
from tests.support.proxy import Proxy

from .figures import Figures
from .peers import Peer

CONTENDERS, ENDPOINTS, TRY = "contenders", "endpoints", "a contended try"
ALL_KEYS = "1, all keys in the file"

SHIPPED = TREE / "etc" / "ctdb_etcd_lock.conf"


def measure_contenders(peers: Sequence[Peer], counts: Sequence[int], turns: int, figures: Figures) -> None:
    """Start this many helpers at one instant; measure the seconds until the last one has its status."""
    for count in [count for count in counts for _ in range(turns)]:
        for peer in peers:
            with at_once(count, lambda _, barrier: peer.start(barrier=barrier), timeout=120) as helpers:
                answers = [helper.stdout[:1] for helper in helpers]
                last = max(helper.answered_after for helper in helpers)
                # Samba's helpers may all lose: each creates its key before it looks for others.
                assert answers.count(b"0") <= 1 and set(answers) <= {b"0", b"1"}, answers
                figures.add(CONTENDERS, peer.name, str(count), last)
            peer.clean()


def measure_try(scratch: Path, figures: Figures) -> None:
    """Count the requests and writes of one try while another helper holds the lock."""
    with Etcd(1) as etcd, Proxy(etcd.endpoints[0]) as proxy:
        with Helper(_conf(scratch, "holder", etcd.endpoints)) as holder:
            assert holder.status() == "0", holder.describe()
            revision = etcd.revision()
            with Helper(_conf(scratch, "try", [proxy.endpoint])) as contender:
                assert contender.status() == "1", contender.describe()
                contender.wait_exit()
            figures.add(TRY, "requests", "number", len(proxy.seen().requests))
            figures.add(TRY, "writes", "number", etcd.revision() - revision)
            holder.terminate()
            holder.wait_exit()


def measure_endpoints(scratch: Path, turns: int, figures: Figures) -> None:
    """Measure exec to `0` (the helper asks all endpoints before it) and exec to `1`; some endpoints are dead.

    All configurations take turns.
    """
    with Etcd(3) as etcd, ExitStack() as stack:
        alive = etcd.endpoints
        refusing = [stack.enter_context(_refusing()) for _ in range(2)]
        silent = [stack.enter_context(_silent()) for _ in range(2)]
        ways = {
            "1": _conf(scratch, "e1", alive[:1]),
            "3": _conf(scratch, "e3", alive),
            "3, the first refuses": _conf(scratch, "e3r", refusing[:1] + alive[:2]),
            "5, the first 2 refuse": _conf(scratch, "e5r", refusing + alive),
            "3, the first is silent": _conf(scratch, "e3s", silent[:1] + alive[:2]),
            "5, the first 2 are silent": _conf(scratch, "e5s", silent + alive),
            ALL_KEYS: _all_keys(scratch, alive[0]),
        }
        _by_turns(ways, turns, "0", figures)
        with Helper(ways["3"]) as holder:
            assert holder.status() == "0", holder.describe()
            _by_turns(ways, turns, "1", figures)
            holder.terminate()
            holder.wait_exit()


def _by_turns(ways: dict[str, Path], turns: int, status: str, figures: Figures) -> None:
    for _ in range(turns):
        for way, conf in ways.items():
            with Helper(conf) as helper:
                assert helper.status() == status, helper.describe()
                figures.add(ENDPOINTS, way, status, helper.answered_after)
                if status == "0":
                    helper.terminate()
                    helper.wait_exit()


def _conf(scratch: Path, name: str, hosts: Sequence[str]) -> Path:
    path = scratch / f"{name}.conf"
    path.write_text(f"host = {', '.join(hosts)}\nnetbios_name = CROWD\n")
    return path


def _all_keys(scratch: Path, endpoint: str) -> Path:
    """Write the shipped file; each key has its default or, without a default, a value that changes nothing."""
    host, _, port = endpoint.partition(":")
    own = {"host": host, "port": port, "netbios_name": "CROWD", "username": "u", "password": "p"}
    lines = []
    for key, default in re.findall(r"^#(\w+) = ?(.*)$", SHIPPED.read_text(), re.MULTILINE):
        value = own.get(key) or default
        if value:
            lines.append(f"{key} = {value}\n")
    path = scratch / "all.conf"
    path.write_text("".join(lines))
    path.chmod(0o600)
    return path


@contextmanager
def _refusing() -> Iterator[str]:
    """Yield an endpoint that refuses connections: no process listens there."""
    port = Port()
    try:
        yield port.endpoint
    finally:
        port.close()


@contextmanager
def _silent() -> Iterator[str]:
    """Yield an endpoint that never answers: its accept queue is full, so the kernel drops incoming packets."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(2):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"
