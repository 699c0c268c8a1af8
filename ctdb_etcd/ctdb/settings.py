# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What CTDB's own files set: whether other machines take part in the cluster, and how long CTDB waits for us."""

from __future__ import annotations

import socket

from ..config.file import in_ctdb_base

# With this on, the kernel lets every address be bound.
_NONLOCAL_BIND = {
    socket.AF_INET: "/proc/sys/net/ipv4/ip_nonlocal_bind",
    socket.AF_INET6: "/proc/sys/net/ipv6/ip_nonlocal_bind",
}

# Seconds, from ctdb.conf(5).
_LEADER_TIMEOUT = 5.0


def elsewhere() -> str:
    """The first address of CTDB's nodes that is not this machine's, and where it is; empty if there is none."""
    path = _cluster("nodes list") or in_ctdb_base("nodes")
    if path.startswith("!"):
        # A command that makes the list is for a list that changes. CTDB runs it; it may take long.
        return f"a node of 'nodes list' (in {in_ctdb_base('ctdb.conf')})"
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            lines = [line.strip() for line in file]
    except (OSError, ValueError):  # ValueError: a path with a NUL
        return ""
    # A deleted node has a # in front, and so is no address.
    return next((f"{address} (in {path})" for address in lines if not _is_ours(address)), "")


def leader_timeout() -> float:
    """How long CTDB waits for an answer of ours before some of its releases ban the node: ctdb.conf's seconds.

    CTDB's default for a file that cannot be read or understood.
    """
    try:
        return float(_cluster("leader timeout"))
    except ValueError:
        return _LEADER_TIMEOUT


def _cluster(option: str) -> str:
    """An option of ctdb.conf's section for the cluster; empty if it is not there or cannot be read."""
    try:
        with open(in_ctdb_base("ctdb.conf"), encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return ""
    # By CTDB's rules (lib/util/tini.c). For configparser an indented line would continue the one before.
    section = found = ""
    for line in text.replace("\\\n", "").split("\n"):
        line = " ".join(line.split())
        if line.startswith("["):
            section = line[1:].partition("]")[0].strip().lower()
        key, _, value = line.partition("=")
        if section == "cluster" and key.rstrip() == option:
            found = value.lstrip()
    return found


def _is_ours(address: str) -> bool:
    """Whether the address is this machine's; true for a text that is no address: it names no other machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.inet_pton(family, address.partition("%")[0])
    except (OSError, ValueError):
        return True
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            if not _binds_anything(family):
                sock.bind((address, 0))
                return True
            # Nothing is sent; the kernel reaches an address of this machine from that address.
            sock.connect((address, 1))
            return bool(sock.getsockname()[0] == address) or address.startswith("127.")
    except OSError:
        return False


def _binds_anything(family: socket.AddressFamily) -> bool:
    try:
        with open(_NONLOCAL_BIND[family], encoding="ascii") as file:
            return file.read().strip() != "0"
    except OSError:
        return False
