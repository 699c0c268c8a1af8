# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The health of each endpoint of etcd; all are asked at the same time.

The result is one dict for each endpoint, as --json prints it. Silent endpoints cost the time that one is given, however
many of them are silent.
"""

from __future__ import annotations

import copy
import select
import time
from email.utils import parsedate_to_datetime
from typing import Any

from ..client.endpoints import Endpoints
from ..client.retry import reason
from ..config.parse import Config
from ..errors import LockError, Unavailable
from ..lock.open import apis_in_use, load, open_api
from ..lock.v2_served import serves_v2
from ..log import Log
from ..waiting import Patient, Task

# A member that needs more than this many seconds for an answer is of no use to the lock either.
ANSWER_TIME = 2.0
# A difference of clocks in seconds that is reported.
_CLOCK = 1.5

# What an answer in JSON raises that is not what etcd answers.
_NONSENSE = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


def endpoints(config: Config, directory: str, waiter: Patient, log: Log) -> tuple[list[dict[str, Any]], Config]:
    """The health of each endpoint, and the configuration with only those that answer: others would only take time.

    Raises Unavailable if DNS does not name them, Refused if a TLS file is unusable or a Python module is missing.
    """
    found = Endpoints(config, waiter, log)
    try:
        found.find(time.monotonic() + ANSWER_TIME)
    except OSError as error:
        raise Unavailable(f"DNS does not name the endpoints of {config.srv_domain}: {reason(error)}") from None
    api = apis_in_use(config, None)[0]
    load(api)  # which takes long with v2 on a busy machine, and must not count as the endpoints' time
    until = time.monotonic() + ANSWER_TIME
    tasks = {name: _task(api, config, found.host(name), directory, log, until) for name in found.names()}
    seen = []
    for name, task in tasks.items():
        try:
            waiter.wait({task.done: select.POLLIN}, until + 0.5)
            seen.append(task.result())
        except TimeoutError:
            # The resolver; its thread ends with us.
            seen.append({**_blank(name), "error": "no answer in time"})
    _compare_clusters(seen, config.expected_cluster_id)
    for endpoint in seen:
        endpoint["healthy"] = bool(endpoint["reachable"] and not endpoint["error"] and not endpoint["alarms"])
    return seen, _only(config, [found.host(endpoint["address"]) for endpoint in seen if endpoint["reachable"]])


def wrong_clocks(seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The endpoints whose clocks differ from ours, which certificates and the keys of the v2 API depend on."""
    return [endpoint for endpoint in seen if abs(endpoint["clock_offset"] or 0) > _CLOCK]


def differ_in_v2(seen: list[dict[str, Any]]) -> str:
    """What to say if some endpoints serve v2 and others do not; empty if they agree."""
    served = [endpoint["address"] for endpoint in seen if endpoint["v2"]]
    not_served = [endpoint["address"] for endpoint in seen if endpoint["v2"] is False]
    if not served or not not_served:
        return ""
    return (
        f"{', '.join(served)} serves the v2 API, {', '.join(not_served)} does not: give all members of etcd the same"
        " --enable-v2 before nodes with Samba's helper and nodes with this one run side by side"
    )


def _only(config: Config, hosts: list[tuple[str, int]]) -> Config:
    """The configuration as if these endpoints were the only ones."""
    own = copy.copy(config)
    own.hosts = hosts
    own.srv_domain = None
    return own


def _task(api: str, config: Config, host: tuple[str, int], directory: str, log: Log, until: float) -> Task:
    own = _only(config, [host])
    # The report shows which cluster it belongs to.
    own.expected_cluster_id = None
    endpoints = Endpoints(own, Patient(), log)
    (name,) = endpoints.names()
    client, _ = open_api(api, directory, endpoints)

    def look() -> dict[str, Any]:
        endpoint = _blank(name)
        wall = time.time()
        try:
            client.health(name, until, endpoint)
            endpoint["clock_offset"] = _offset(endpoint.pop("date", ""), wall, time.time())
        except (OSError, LockError, *_NONSENSE) as error:
            nonsense = isinstance(error, _NONSENSE)
            endpoint["error"] = "its answer makes no sense: is it etcd?" if nonsense else reason(error)
        if endpoint["reachable"] and config.api != "3":
            try:
                endpoint["v2"] = serves_v2(directory, endpoints, name, until)
            except (OSError, LockError):
                pass
        return endpoint

    return Task(look)


def _blank(name: str) -> dict[str, Any]:
    return {
        "address": name,
        "healthy": False,
        "reachable": False,
        "error": None,
        "note": None,
        "version": None,
        "leader": None,
        "latency": None,
        "alarms": [],
        "clock_offset": None,
        "cluster_id": None,
        "v2": None,
    }


def _offset(date: str, began: float, ended: float) -> float | None:
    """Seconds by which the sender's clock is ahead of ours, at least, by its Date header; 0 if it may be right."""
    try:
        least = parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    # It was made between the two moments, and is cut off to whole seconds.
    if least > ended:
        return round(least - ended, 1)
    return round(min(0.0, least + 1 - began), 1) + 0.0


def _compare_clusters(seen: list[dict[str, Any]], expected: int | None) -> None:
    ids = [endpoint["cluster_id"] for endpoint in seen if endpoint["cluster_id"]]
    for endpoint in seen:
        own = endpoint["cluster_id"]
        if own and expected is not None and int(own, 16) != expected:
            endpoint["error"] = f"it is of cluster {own}, not {expected:x}: check host and expected_cluster_id"
        elif own and 2 * ids.count(own) <= len(ids) and len(ids) > 1:
            endpoint["error"] = f"it is of cluster {own}, others are not: check host"
