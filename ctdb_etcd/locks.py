# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Which locks a configuration means: the v3 lock, the v2 lock, or both held as one (api = auto).

With `auto` the v3 lock is always held, so nodes with this helper always exclude each other. The v2 lock is
held besides wherever the cluster serves that API, so that a node which still runs Samba's helper is excluded.
"""

from __future__ import annotations

import json

from .endpoints import Endpoints
from .failover import Failover, reason, share
from .gateway import Gateway
from .http1 import HttpError
from .lock import LockError, Refused, Several, Unavailable
from .lock_v3 import LockV3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .config import Config
    from .identity import Holder
    from .lock import Lock, Waiter
    from .log import Log
    from .takeover import Takeover

# The longest time in seconds to wait for one endpoint's word on v2: a dead one must not delay a takeover.
_PROBE = 1.0
V2_UNKNOWN = "too few endpoints answer to tell whether etcd serves the v2 API"
MEND_V2 = "mend host, or set api = 3 once no node runs Samba's helper"


def open_lock(config: Config, name: str, holder: Holder, takeover: Takeover, waiter: Waiter, log: Log) -> Lock:
    """The lock that the configuration means, for the cluster of this netbios name."""
    directory = f"{config.lock_prefix}/{config.locks_dir}/{name}/"
    log.about(directory)

    def v2(endpoints: Endpoints) -> Lock:
        try:
            from .lock_v2 import LockV2
            from .members_v2 import Members
        except ImportError as error:
            raise Refused(
                f"etcd's v2 API needs python-etcd, which cannot be imported ({error}): install python3-etcd,"
                " or set api = 3 once no node runs Samba's helper"
            ) from None
        members = Members(config, endpoints, waiter, log)
        return LockV2(members, directory, config.lock_ttl, holder, takeover, log)

    if config.api == "2":
        return v2(Endpoints(config, waiter, log))
    endpoints = Endpoints(config, waiter, log)
    gateway = Gateway(config, endpoints, waiter, log)
    v3 = LockV3(gateway, directory, config.lock_ttl, holder, takeover, log)
    if config.api == "3":
        return v3

    def v2_where_served(deadline: float) -> list[Lock]:
        served = v2_served(gateway, f"{config.version_prefix}/keys{directory}", waiter, log, deadline)
        return [v2(endpoints)] if served else []

    return Several([v3], v2_where_served)


def v2_served(gateway: Gateway, path: str, waiter: Waiter, log: Log, deadline: float) -> bool:
    """Whether any endpoint serves the v2 API. Raises Unavailable if that cannot be told by the deadline.

    A member with v2 answers in JSON, errors too; one without has a plain 404, and one of these there must be. One
    where nobody listens serves nothing. Of those that are silent nobody knows: they must be the minority, or a
    crashed node that was a member of etcd, too, would keep the others from taking over. One whose name does not
    resolve here is silent, too: it may resolve on the node where Samba's helper runs, and hold its lock.
    """

    def ask_all(failures: dict[str, Exception]) -> bool | None:
        denied = silent = 0
        for endpoint in gateway.endpoints:
            try:
                if speaks_v2(*gateway.get(endpoint, path, share(deadline, 1, _PROBE))):
                    return True
                denied += 1
            except ConnectionRefusedError as error:
                failures[endpoint] = error
            except (OSError, HttpError, LockError) as error:
                failures[endpoint] = error
                silent += 1
        if not denied or 2 * silent >= len(gateway.endpoints):
            return None
        for endpoint, failure in failures.items():
            log.info(f"{endpoint} is not known to serve the v2 API: {reason(failure)}")
        return False

    try:
        return Failover(waiter, log).call(ask_all, deadline, f"{V2_UNKNOWN}, trying on: ")
    except Unavailable as failure:
        raise Unavailable(f"{V2_UNKNOWN}: {failure}: {MEND_V2}") from None


def speaks_v2(status: int, body: bytes) -> bool:
    """Whether this answer to a GET below /v2/keys is one of the v2 API. Raises LockError if it tells nothing."""
    try:
        answer: Any = json.loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return True
    if status == 404:
        return False
    raise LockError(f"HTTP status {status}")
