# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""One etcd that all nodes share: what a node checks before it holds the lock.

Two nodes would both hold it if the endpoints were of several etcd clusters, or if each node had an etcd of its own.
Neither etcd could know. So the lock just taken must be known to every endpoint that answers in time, and an etcd that
only this machine can reach is refused where others take part. An endpoint that does not answer proves nothing: a dead
member must not keep the lock from being taken.
"""

from __future__ import annotations

import select
import time
from functools import partial

from ..client.retry import reason
from ..errors import LockError, Lost, PermissionDenied, Refused, Unavailable
from ..waiting import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..client.endpoints import Endpoints
    from .open import ApiLock

# Seconds for the other endpoints to answer, all at one time.
_ANSWER_TIME = 0.5
# The least they have, even at the deadline: nobody may hold because no time was left to ask.
_LEAST_TIME = 0.1


def confirm(endpoints: Endpoints, elsewhere: Callable[[], str], lock: ApiLock, deadline: float) -> None:
    """Ask all endpoints for this lock, which is taken, or its lease. Raises Refused, Lost, Unavailable, Stopped.

    `elsewhere` returns the address of another machine that takes part in the lock, or an empty text.
    """
    _shared(endpoints, elsewhere, lock, deadline)
    others = [endpoint for endpoint in endpoints.names() if endpoint != lock.endpoint]
    seen = _ask(others, endpoints, lock, _until(deadline))
    _compare(endpoints, lock, seen)
    apart = [endpoint for endpoint, (_, known) in seen.items() if not known]
    if apart:
        until = _until(deadline)
        _look_again(lock, until)
        # Some releases of etcd can answer from the past in rare cases (etcd issue 20418). Silence proves nothing.
        seen.update(_ask(apart, endpoints, lock, until))
        _compare(endpoints, lock, seen)
    if apart := [endpoint for endpoint in apart if not seen[endpoint][1]]:
        raise Refused(
            f"what {lock.endpoint} has stored is not known at {', '.join(apart)}, though all say that they are of"
            f" cluster {endpoints.cluster or 0:x}: they are separate etcds with the same settings: check"
            f" {endpoints.source}"
        )


def _until(deadline: float) -> float:
    now = time.monotonic()
    return max(min(deadline, now + _ANSWER_TIME), now + _LEAST_TIME)


def _compare(endpoints: Endpoints, lock: ApiLock, seen: dict[str, tuple[int, bool]]) -> None:
    """Raise Refused if these answers are of another cluster than the lock's, or of several."""
    clusters = {endpoints.cluster or 0: [lock.endpoint]}
    for endpoint in endpoints.names():
        if endpoint in seen:
            clusters.setdefault(seen[endpoint][0], []).append(endpoint)
    if len(clusters) > 1:
        named = "; ".join(f"{', '.join(found)} of cluster {cluster:x}" for cluster, found in clusters.items())
        raise Refused(f"the endpoints are of different etcd clusters: {named}: check {endpoints.source}")


def _ask(names: list[str], endpoints: Endpoints, lock: ApiLock, until: float) -> dict[str, tuple[int, bool]]:
    """What known_at returns for each of these, without those that give no answer."""
    tasks: dict[str, Task] = {}
    seen: dict[str, tuple[int, bool]] = {}
    missing: dict[str, str] = {}
    for endpoint in names:
        try:
            tasks[endpoint] = Task(partial(lock.known_at, endpoint, until))
        except OSError as error:
            missing[endpoint] = reason(error)
    for endpoint, task in tasks.items():
        try:
            endpoints.waiter.wait({task.done: select.POLLIN}, until)
        except TimeoutError:
            task.leave()
            missing[endpoint] = "no answer in time"
            continue
        try:
            seen[endpoint] = task.result()
        except (OSError, LockError) as error:
            missing[endpoint] = reason(error)
    for endpoint, why in missing.items():
        endpoints.log.info(f"{endpoint} is not known to be of the same etcd cluster: {why}")
    return seen


def _look_again(lock: ApiLock, until: float) -> None:
    """Raise Lost if what is not known elsewhere is not known here either, Unavailable if that cannot be learned."""
    try:
        _, known = lock.known_at(lock.endpoint, until)
    except OSError as error:
        raise Unavailable(f"{lock.endpoint} no longer answers: {reason(error)}") from None
    if not known:
        raise Lost("it disappeared at once: it was deleted, or its lease was revoked")


def _shared(endpoints: Endpoints, elsewhere: Callable[[], str], lock: ApiLock, deadline: float) -> None:
    if not _is_local(endpoints.address(lock.endpoint)):
        return
    other = elsewhere()
    if not other:
        return
    try:
        members = lock.members(deadline)
    except PermissionDenied:
        # It has users, so it is not an etcd that a package has just installed.
        why = "does not let us list its members: check that all nodes share it"
        endpoints.log.error(f"{lock.endpoint} {why}")
        return
    if len(members) == 1 and members[0] and all(map(_is_local_url, members[0])):
        raise Refused(
            f"etcd at {lock.endpoint} can be this machine's alone: it has no other member, and clients are to reach"
            f" it at {', '.join(members[0])}; but {other} takes part in the lock as well: set host to addresses of"
            " an etcd that all nodes share"
        )


def _is_local(host: str) -> bool:
    """Whether this host name or address leads every machine to itself."""
    host = host.lower().removeprefix("::ffff:")
    return host.startswith("127.") or host in ("localhost", "::1", "0.0.0.0", "::")


def _is_local_url(url: str) -> bool:
    scheme, _, rest = url.partition("://")
    place = rest.partition("/")[0]
    host = place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]
    return scheme.startswith("unix") or _is_local(host)
