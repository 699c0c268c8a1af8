# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""How each endpoint of etcd is, asked of all of them at one time, each by itself.

The answer is one dict an endpoint, as --json prints it. A silent endpoint costs the time that it is given, once,
however many of them are silent.
"""

from __future__ import annotations

import copy
import errno
import json
import os
import select
import time
from email.utils import parsedate_to_datetime

from .endpoints import Endpoints
from .failover import Task, reason
from .gateway import Gateway
from .http1 import Disconnected, HttpError
from .lock import LockError
from .locks import speaks_v2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .config import Config
    from .log import Log

# A member whose answer needs more than this many seconds will not be of use to the lock either.
PATIENCE = 2.0

# etcd does so, too, where it expects TLS and gets none: now this way, now that.
_CLOSED = "it closed the connection without an answer"
_RESET = os.strerror(errno.ECONNRESET)


class Patience:
    """A Waiter for those who only ask: nothing but time ends a wait."""

    def check(self) -> None:
        """See lock.Waiter.check."""

    def wait(self, events: dict[int, int], deadline: float) -> set[int]:
        """See lock.Waiter.wait."""
        poll = select.poll()
        for fd, event in events.items():
            poll.register(fd, event)
        left = deadline - time.monotonic()
        ready = {fd for fd, _ in poll.poll(max(0, int(left * 1000 + 0.999)))}
        if not ready:
            raise TimeoutError("no answer in time")
        return ready


def endpoints(config: Config, directory: str, waiter: Patience, log: Log) -> list[dict[str, Any]]:
    """What each endpoint says. Raises OSError if DNS does not name them, Refused if a file of TLS is not good."""
    found = Endpoints(config, waiter, log)
    found.find(time.monotonic() + PATIENCE)
    until = time.monotonic() + PATIENCE
    tasks = [_task(_one(config, found.host(name)), name, directory, log, until) for name in found.names()]
    seen = []
    for name, task in zip(found.names(), tasks):
        try:
            waiter.wait({task.done: select.POLLIN}, until + 0.5)
            seen.append(task.result())
        except TimeoutError:
            # The resolver; its thread ends with us.
            seen.append({**_blank(name), "error": "no answer in time"})
    _compare_clusters(seen, config.expected_cluster_id)
    for endpoint in seen:
        endpoint["healthy"] = bool(endpoint["reachable"] and not endpoint["error"] and not endpoint["alarms"])
    return seen


def answering(config: Config, seen: list[dict[str, Any]]) -> Config:
    """The configuration with the endpoints that answer, the healthy ones first: no time is to be lost on others."""
    reachable = sorted((endpoint for endpoint in seen if endpoint["reachable"]), key=lambda one: not one["healthy"])
    own = copy.copy(config)
    own.srv_domain = None
    own.hosts = [_host(endpoint["address"]) for endpoint in reachable]
    return own


def _host(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _one(config: Config, host: tuple[str, int]) -> Config:
    """The configuration as if this endpoint were the only one."""
    own = copy.copy(config)
    own.hosts = [host]
    own.srv_domain = None
    # To be shown which cluster it is of.
    own.expected_cluster_id = None
    return own


def _task(config: Config, name: str, directory: str, log: Log, until: float) -> Task:
    gateway = Gateway(config, Endpoints(config, Patience(), log), Patience(), log)

    def look() -> dict[str, Any]:
        endpoint = _blank(name)
        if config.api == "2":
            _ask_v2(gateway, name, endpoint, until)
        else:
            _ask_v3(gateway, name, endpoint, until)
        if endpoint["reachable"] and config.api != "3":
            path = f"{config.version_prefix}/keys{directory}"
            try:
                endpoint["v2"] = speaks_v2(*gateway.get(name, path, until))
            except (OSError, HttpError, LockError):
                pass
        if not endpoint["reachable"] and endpoint["error"] in (_CLOSED, _RESET) and config.protocol == "http":
            endpoint["error"] += ": if it speaks https, set protocol = https"
        endpoint["error"] = endpoint["error"] and log.clean(endpoint["error"])
        return endpoint

    return Task(look)


def _blank(name: str) -> dict[str, Any]:
    return {
        "address": name,
        "healthy": False,
        "reachable": False,
        "error": None,
        "version": None,
        "leader": None,
        "latency": None,
        "alarms": [],
        "clock_offset": None,
        "cluster_id": None,
        "v2": None,
    }


def _ask_v3(gateway: Gateway, name: str, endpoint: dict[str, Any], until: float) -> None:
    began, wall = time.monotonic(), time.time()
    try:
        answer, date = gateway.ask(name, "maintenance/status", {}, until)
        endpoint["latency"] = round(time.monotonic() - began, 6)
        header = answer.get("header") or {}
        leader, member = str(answer.get("leader", "0")), str(header.get("member_id", "0"))
        endpoint.update(
            reachable=True,
            version=str(answer.get("version") or "") or None,
            leader=None if leader == "0" else leader == member,
            cluster_id=f"{int(header.get('cluster_id', 0)):x}",
            clock_offset=_offset(date, wall, time.time()),
        )
        # An object or a text, each "memberID:... alarm:NOSPACE"; besides them what else ails it.
        ails = [str(error) for error in answer.get("errors") or []]
        endpoint["alarms"] = sorted({ail.rpartition("alarm:")[2].strip() for ail in ails if "alarm:" in ail})
        if leader == "0":
            endpoint["error"] = "it has no leader: it is cut off from the other members, or most of them are down"
        elif answer.get("isLearner"):
            endpoint["error"] = "it is a learner, which serves no lock: promote it, or take it out of host"
        else:
            endpoint["error"] = "; ".join(ail for ail in ails if "alarm:" not in ail) or None
    except (OSError, HttpError, LockError, TypeError, ValueError, AttributeError) as error:
        endpoint["error"] = _why(error)


def _ask_v2(gateway: Gateway, name: str, endpoint: dict[str, Any], until: float) -> None:
    """What can be asked of a member without the v3 API; without a login, too."""
    began = time.monotonic()
    try:
        _, body = gateway.get(name, "/version", until)
        endpoint["latency"] = round(time.monotonic() - began, 6)
        endpoint.update(reachable=True, version=str(json.loads(body)["etcdserver"]))
        _, body = gateway.get(name, "/v2/stats/self", until)
        state = json.loads(body)
        endpoint["leader"] = state["state"] == "StateLeader"
        if not state["leaderInfo"]["leader"].strip("0"):
            endpoint["error"] = "it has no leader: it is cut off from the other members, or most of them are down"
    except (OSError, HttpError, LockError, KeyError, TypeError, ValueError, AttributeError) as error:
        endpoint["error"] = _why(error)


def _why(error: Exception) -> str:
    if isinstance(error, Disconnected):
        return _CLOSED
    if isinstance(error, (KeyError, TypeError, ValueError, AttributeError)):
        return "its answer makes no sense: is it etcd?"
    return reason(error) if str(error) or not isinstance(error, TimeoutError) else "no answer in time"


def _offset(date: str, began: float, ended: float) -> float | None:
    """Seconds by which the sender's clock is ahead of ours, at least; 0 if it may be right, as a Date tells it."""
    try:
        least = parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None
    # It was made between the two moments, and is cut off to the second.
    if least > ended:
        return round(least - ended, 1)
    return round(min(0.0, least + 1 - began), 1) + 0.0


def _compare_clusters(seen: list[dict[str, Any]], expected: str | None) -> None:
    ids = [endpoint["cluster_id"] for endpoint in seen if endpoint["cluster_id"]]
    for endpoint in seen:
        own = endpoint["cluster_id"]
        if own and expected and int(own, 16) != int(expected, 16):
            endpoint["error"] = f"it is of cluster {own}, not {expected}: check host and expected_cluster_id"
        elif own and 2 * ids.count(own) <= len(ids) and len(ids) > 1:
            endpoint["error"] = f"it is of cluster {own}, others are not: check host"
