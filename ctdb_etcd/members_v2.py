# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""python-etcd's clients, one for each endpoint: calls of etcd's v2 API that keep to a deadline.

python-etcd waits where nobody can wake it, and its time-outs count each read anew. So it runs in a thread
that is left behind when time is over; whatever it still sends then is conditional and does no harm, or leaves
a key that ends by its TTL. Its own failover is not used: it repeats what must not be repeated blindly.
"""

from __future__ import annotations

import logging
import time

import etcd

from .failover import EndpointRefused, Failover, aside, bracketed, endpoint_name, share
from .lock import Refused, Stopped, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .config import Config
    from .lock import Waiter
    from .log import Log

# The words of python-etcd for an answer that is no answer of the v2 API.
_NOT_SERVED = "Bad response"


class Unanswered(Exception):
    """The call may or may not have had its effect."""


class Members:
    """The members of one cluster, as configured, and the order in which to ask them."""

    def __init__(self, config: Config, order: list[str], waiter: Waiter, log: Log) -> None:
        self._keywords = {
            endpoint_name(host, port): {"host": bracketed(host), "port": port} for host, port in config.hosts
        }
        self._order = list(order) or list(self._keywords)
        self._read_timeout = config.read_timeout
        self._waiter = waiter
        self._log = log
        self._failover = Failover(waiter, log)
        self._clients: dict[str, etcd.Client] = {}
        # It logs what it then raises; we say it once, in our words.
        logging.getLogger("etcd").addHandler(logging.NullHandler())
        logging.getLogger("etcd").propagate = False

    def call(self, operation: Callable[[etcd.Client], Any], deadline: float) -> Any:
        """What operation(client) returns, at whichever member answers; it may be repeated.

        Raises Unavailable at the deadline, Refused, and etcd.EtcdKeyNotFound, etcd.EtcdCompareFailed.
        """

        def attempt(failures: dict[str, Exception]) -> Any:
            for untried in range(len(self._order), 0, -1):
                try:
                    return self._ask(operation, share(deadline, untried, self._read_timeout))
                except (Unavailable, EndpointRefused) as error:
                    failures[self._order[0]] = error
                    self._next()
            return None

        return self._failover.call(attempt, deadline)

    def call_once(self, operation: Callable[[etcd.Client], Any], deadline: float) -> Any:
        """As `call`, but not repeated: raises Unanswered if it is not known what came of it."""
        self._waiter.check()
        try:
            return self._ask(operation, share(deadline, 1, self._read_timeout))
        except (Unavailable, EndpointRefused) as error:
            self._next()
            raise Unanswered(str(error)) from None

    def _ask(self, operation: Callable[[etcd.Client], Any], until: float) -> Any:
        endpoint = self._order[0]
        # A client whose call is left behind is not used again.
        client = self._clients.pop(endpoint, None) or etcd.Client(**self._keywords[endpoint])
        began = time.monotonic()
        try:
            answer = aside(lambda: operation(client), self._waiter, until)
        except TimeoutError:
            raise Unavailable(f"no answer in {time.monotonic() - began:.1f} s") from None
        except (etcd.EtcdKeyNotFound, etcd.EtcdCompareFailed):
            self._clients[endpoint] = client
            raise
        except Stopped:
            raise
        except Exception as error:  # garbage in an answer comes out of python-etcd as anything
            raise _understand(error) from None
        finally:
            self._log.debug(f"v2: {endpoint} in {time.monotonic() - began:.4f} s")
        self._clients[endpoint] = client
        return answer

    def _next(self) -> None:
        self._order.append(self._order.pop(0))


def _understand(error: Exception) -> Exception:
    """What python-etcd's exception means here."""
    text = " ".join(str(error).split())
    if isinstance(error, etcd.EtcdInsufficientPermissions):
        return Refused(f"etcd says: {text}: give the user readwrite permission on the lock's directory in the v2 API")
    if isinstance(error, etcd.EtcdClusterIdChanged):
        return Refused(f"this is not the cluster expected: {text}")
    if isinstance(error, etcd.EtcdConnectionFailed):
        # The innermost reason is behind urllib3's wrappings: "... (Caused by X('<object>: reason'))".
        why = text.rpartition("Caused by ")[2].rpartition(">: ")[2].strip("\")'( ") or text
        return EndpointRefused(why) if "CERTIFICATE_VERIFY_FAILED" in text else Unavailable(why)
    if text.startswith(_NOT_SERVED) and "404" in text:
        return EndpointRefused(
            "the v2 API is not served: start etcd (before 3.6) with --enable-v2=true, or set api = 3"
        )
    return Unavailable(f"etcd says: {text or type(error).__name__}")
