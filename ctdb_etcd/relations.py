# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What the values of the configuration file have to do with one another and with the rest of the world.

A fault is a combination that could cost the lock or cannot work; a warning is a value that would silently
change nothing, or a secret that isn't one. Both are pairs of the key and what to do.
"""

from __future__ import annotations

import os
import stat

from .fence import margin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The shortest time in which one try at an endpoint is worth making, in seconds.
LEAST_TRY = 1.0


def faults_between(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Why these values, each good by itself, are not good together."""
    faults = _timing(values["lock_ttl"], values["refresh"], values["read_timeout"])
    for key, other in (("username", "password"), ("password", "username")):
        if values[key] and not values[other]:
            faults.append((key, f"{other} is missing: set both, or none for an etcd without login"))
    return faults


def _timing(ttl: int, refresh: float, read_timeout: float) -> list[tuple[str, str]]:
    """The safety rule's inequality: after a refresh that fails there must be time for two tries."""

    def good(ttl: int, refresh: float, read_timeout: float) -> bool:
        return refresh + 2 * min(read_timeout, LEAST_TRY) <= ttl - margin(ttl)

    if good(ttl, refresh, read_timeout):
        return []
    tenths = [tenth / 10 for tenth in range(2, 18001)]
    longer = next(f"lock_ttl = {n}" for n in range(ttl, 3601) if good(n, refresh, read_timeout))
    # What is to be lowered, by as little as will do.
    oftener = [f"refresh = {n:g}" for n in tenths if n < refresh and good(ttl, n, read_timeout)]
    quicker = [f"read_timeout = {n:g}" for n in tenths if n < LEAST_TRY and good(ttl, refresh, n)]
    ways = " or ".join([longer, *oftener[-1:], *quicker[-1:]])
    return [
        (
            "refresh",
            f"{refresh:g} with lock_ttl = {ttl} and read_timeout = {read_timeout:g} leaves no time for two tries"
            f" before the lock would be lost: set {ways}",
        )
    ]


def warnings_about(path: str, given: list[str], values: dict[str, Any]) -> list[tuple[str, str]]:
    """What a reader of the file at path would be wrong about; `given` are the keys that it sets."""
    one_host = not values["srv_domain"] and len(values["host"]) == 1
    found = []
    if values["api"] == "3":
        defaults = {"version_prefix": "/v2", "per_host_pool_size": 10}
        why = "has no effect with api = 3: remove the line"
        found += [(key, why) for key, default in defaults.items() if values[key] != default]
    if values["protocol"] == "http":
        found += [(key, "has no effect with protocol = http: set protocol = https") for key in ("cert", "ca_cert")]
    if values["srv_domain"]:
        found += [(key, "has no effect with srv_domain: remove one of them") for key in ("host", "port")]
    if values["allow_reconnect"] and one_host:
        found.append(("allow_reconnect", "true has no effect with one host: name all members of etcd in host"))
    if not values["allow_reconnect"] and not one_host:
        found.append(("allow_reconnect", "false has no effect: all endpoints are used; name one host to use only that"))
    if values["allow_reconnect"] and not values["use_proxies"]:
        found.append(("use_proxies", "false has no effect: the endpoints named here are used, never etcd's own list"))
    if values["password"] and _others_may_read(path):
        found.append(("password", f"others may read this file: chmod 600 {path}"))
    return [(key, why) for key, why in found if key in given]


def _others_may_read(path: str) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    # That root's group may read it lets nobody in.
    return bool(status.st_mode & stat.S_IROTH or (status.st_mode & stat.S_IRGRP and status.st_gid))
