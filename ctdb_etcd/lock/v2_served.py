# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Whether etcd serves the v2 API, where a node with Samba's helper would take the lock (api = auto)."""

from __future__ import annotations

from ..client.retry import Retry, reason, share
from ..errors import GrpcOnly, LockError, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..client.endpoints import Endpoints

# The longest time in seconds to wait for one endpoint's answer on v2: a dead one must not delay a takeover.
_PROBE = 1.0
V2_UNKNOWN = "too few endpoints answer to know whether etcd serves the v2 API"
V2_UNKNOWN_ADVICE = "correct host, or set api = 3 once no node runs Samba's helper"


def v2_served(directory: str, endpoints: Endpoints, deadline: float) -> bool:
    """Whether any endpoint serves the v2 API. Raises Unavailable if that is unknown at the deadline."""

    def ask_all(failures: dict[str, Exception]) -> bool | None:
        denied = silent = 0
        for endpoint in endpoints.names():
            if endpoint in failures:
                continue
            try:
                if serves_v2(directory, endpoints, endpoint, share(deadline, _PROBE)):
                    return True
                denied += 1
            except (OSError, LockError) as error:
                failures[endpoint] = error
                silent += not isinstance(error, (ConnectionRefusedError, GrpcOnly))
        if not is_denied(denied, silent, len(endpoints.names())):
            return None
        for endpoint, failure in failures.items():
            endpoints.log.info(f"{endpoint} is not known to serve the v2 API: {reason(failure)}")
        return False

    try:
        return Retry(endpoints.waiter, endpoints.log).call(ask_all, deadline, f"{V2_UNKNOWN}, still trying: ")
    except Unavailable as failure:
        raise Unavailable(f"{V2_UNKNOWN}: {failure}: {V2_UNKNOWN_ADVICE}") from None


def is_denied(denied: int, silent: int, endpoints: int) -> bool:
    """Whether v2 is known not to be served: of so many endpoints none serves it, `denied` say so, `silent` say nothing.

    At least one member must say that it does not serve v2. An endpoint where nobody listens or where only gRPC is
    spoken serves nothing. Silent endpoints must be the minority: were they not allowed at all, a crashed node that was
    a member of etcd as well would keep the others from taking over. An endpoint whose name does not resolve here is
    silent as well: it may resolve on the node where Samba's helper runs, and hold its lock.
    """
    return bool(denied) and 2 * silent < endpoints


def serves_v2_now(directory: str, endpoints: Endpoints, endpoint: str, deadline: float) -> bool | None:
    """Whether this endpoint serves the v2 API by now; None where it gives no answer that says so."""
    try:
        return serves_v2(directory, endpoints, endpoint, share(deadline, _PROBE))
    except (OSError, LockError) as error:
        endpoints.log.debug(f"{endpoint} is not known to serve the v2 API: {reason(error)}")
        return None


def serves_v2(directory: str, endpoints: Endpoints, endpoint: str, until: float) -> bool:
    """Whether this endpoint serves the v2 API.

    A member with v2 answers with a JSON object that has a node or an errorCode, or, if it wants a login, only a
    message; one without v2 has a 404. Raises OSError, and LockError if the answer is neither: a gateway in front of
    etcd has errors in JSON, too.
    """
    status, body = endpoints.impatient().get(endpoint, f"{endpoints.config.version_prefix}/keys{directory}", until)
    if body.lstrip().startswith(b"{") and (b'"node"' in body or b'"errorCode"' in body or status == 401):
        return True
    if status == 404:
        return False
    raise LockError(f"HTTP status {status}")
