# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""etcd's v3 JSON gateway: one call at a time, to whichever endpoint answers.

Every call that this program makes can be sent twice without harm (the lock chooses its lease IDs itself). So a call
goes on, endpoint after endpoint, until one answers or its deadline has come. What etcd itself refuses is raised at
once; what is wrong with one endpoint is raised only if no other endpoint gives a better answer.
"""

from __future__ import annotations

import json
import time
from select import POLLIN, POLLOUT

from ..errors import EndpointRefused, LockError, PermissionDenied, Refused, Stopped, Unauthenticated, Unavailable
from . import login
from .endpoints import NO_LEADER
from .http1 import HttpError, NotSent, exchange
from .race import ConnectFailed
from .retry import Retry, reason, share
from .v3_answers import advice, cluster_of, understand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .endpoints import Endpoints
    from .http1 import Connection


class Client:
    """The connection in use to one etcd cluster, and the login."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._config = endpoints.config
        self._log = endpoints.log
        self._login = login.Login(self._config, self._log)
        self._connection: Connection | None = None
        self._watch: Connection | None = None
        self.endpoint = ""  # the one that was connected to last
        self._retry = Retry(endpoints.waiter, self._log, self._config.again)
        self._edition = self._config.edition

    @property
    def logged_in(self) -> bool:
        """Whether the last request carried a token."""
        return bool(self._login.headers())

    def call(self, path: str, body: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Post body to /v3/path and return the answer's JSON object.

        Raises Unavailable at the deadline (monotonic seconds), Refused (OtherCluster if all endpoints are of another
        one than they should be, see Endpoints.stay_with), LeaseNotFound, LeaseExists.
        """
        data = json.dumps(body)
        try:
            return self._retry.call(lambda failures: self._round(path, data, deadline, failures), deadline)
        except PermissionDenied as denial:
            raise PermissionDenied(f"{denial}: {advice(self._config.username, body)}") from None

    def ask(self, endpoint: str, path: str, body: dict[str, Any], until: float) -> tuple[dict[str, Any], str]:
        """Post to this one endpoint, once, on a connection of its own: return the answer's object and its Date header.

        Logs in only if etcd requires it: a member without a leader cannot accept a login, but reports its state.
        Raises as Endpoints.dial and `call` do; Unavailable at once.
        """
        with self._endpoints.dial(endpoint, until) as connection:
            data = json.dumps(body)
            try:
                answer = self._post(connection, path, data, until)
            except Unauthenticated:
                answer = self._exchange(connection, path, data, until)
        return answer, connection.fields.get("date", "")

    def apart(self, endpoint: str) -> Client:
        """The same for a thread of its own, only for `ask` at this endpoint, of whatever cluster."""
        own = Client(self._endpoints.apart(endpoint))
        vars(own._login).update(vars(self._login))
        return own

    def changes(self, body: dict[str, Any], until: float) -> dict[int, int]:
        """What to wait for: the end of the idle connection, and an event of a watch for this create_request.

        Without a watch, if none can be opened in time, only its news is missing. Raises Stopped.
        """
        if self._watch and (self._watch.endpoint != self.endpoint or self._watch.has_more()):
            # The next one begins after the last look at the lock, so no event is missing.
            self._watch.close()
            self._watch = None
        if self._watch is None and self.endpoint:
            try:
                self._watch = self._follow(body, until)
            except (OSError, LockError) as error:
                self._log.debug(f"watch: none at {self.endpoint}: {reason(error)}")
        connections = [self._watch, self._connection if self._connection and self._connection.usable else None]
        events = {connection.fileno(): POLLIN for connection in connections if connection}
        if self._watch and self._watch.has_more():
            # An event came in one piece with the beginning and is read already: let the wait end at once.
            events[self._watch.fileno()] |= POLLOUT
        return events

    def _follow(self, body: dict[str, Any], until: float) -> Connection:
        """A connection of its own on which a watch has begun."""
        watch = self._endpoints.open(self.endpoint, until)
        try:
            self._log_in(watch, until)
            headers = {**self._login.headers(), "Content-Type": "application/json"}
            self._log.debug(f"POST /v3/watch at {watch.endpoint}")
            status, first = watch.follow("/v3/watch", json.dumps({"create_request": body}).encode(), headers, until)
            result = understand(status, first).get("result")
            if not (isinstance(result, dict) and result.get("created")):
                raise Unavailable("it did not begin")
        except BaseException:
            watch.close()
            raise
        return watch

    def health(self, endpoint: str, until: float, found: dict[str, Any]) -> None:
        """Put into `found`: reachable, version, leader, latency, date, cluster_id, alarms, error, note of an endpoint.

        Raises as `ask`, and KeyError, TypeError, ValueError, AttributeError, OverflowError or RecursionError for an
        answer that makes no sense.
        """
        began = time.monotonic()
        try:
            answer, date = self.ask(endpoint, "maintenance/status", {}, until)
        except EndpointRefused:
            raise
        except Refused as refusal:
            found["note"] = f"which member leads is not known: {refusal}"
            self._open_health(endpoint, until, found)
            return
        found["latency"] = round(time.monotonic() - began, 6)
        header = answer["header"]
        leader, member = str(answer.get("leader", "0")), str(header.get("member_id", "0"))
        # An object or a text each, "memberID:... alarm:NOSPACE"; other errors stand beside the alarms.
        errors = [str(error) for error in answer.get("errors") or []]
        found.update(
            reachable=True,
            version=str(answer.get("version") or "") or None,
            leader=None if leader == "0" else leader == member,
            cluster_id=f"{cluster_of(answer):x}",
            date=date,
            alarms=sorted({error.rpartition("alarm:")[2].strip() for error in errors if "alarm:" in error}),
        )
        if leader == "0":
            found["error"] = NO_LEADER
        elif answer.get("isLearner"):
            found["error"] = "it is a learner, which serves no lock: promote it, or take it out of host"
        else:
            found["error"] = "; ".join(error for error in errors if "alarm:" not in error) or None

    def _open_health(self, endpoint: str, until: float, found: dict[str, Any]) -> None:
        """What a member reports to everybody: some releases let only root ask for maintenance/status, or who logs in.

        Without a login the cluster's ID is not known.
        """
        with self._endpoints.dial(endpoint, until) as connection:
            began = time.monotonic()
            _, body = self._endpoints.get_over(connection, "/version", until)
            date = connection.fields.get("date", "")
            found.update(reachable=True, version=str(json.loads(body)["etcdserver"]), date=date)
            found["latency"] = round(time.monotonic() - began, 6)
            _, body = self._endpoints.get_over(connection, "/health", until)
            health = json.loads(body)
        if str(health["health"]).lower() != "true":
            reason = str(health.get("reason") or "")
            found["alarms"] = [reason[6:]] if reason.startswith("ALARM ") else []
            if not found["alarms"]:
                found["error"] = f"it reports that it is not healthy: {reason or 'it gives no reason'}"
        try:
            answer, _ = self.ask(endpoint, "cluster/member/list", {}, until)
            found["cluster_id"] = f"{cluster_of(answer):x}"
        except Refused:
            pass

    def _round(self, path: str, data: str, deadline: float, failures: dict[str, Exception]) -> dict[str, Any] | None:
        """Try every endpoint once, the one in use first; None if all of them failed.

        Every turn of the loop but three at most ends the connection in use or takes an endpoint from the list.
        """
        if self._edition != self._config.edition:
            # The file may name other endpoints and another user.
            self._edition = self._config.edition
            self._drop()
            self._login.forget()
        if self._connection is None:
            try:
                self._endpoints.find(share(deadline, self._config.read_timeout))
            except OSError as error:
                failures[f"srv_domain {self._config.srv_domain}"] = error
                return None
        unsent = 3  # one each for a kept connection, a login and the request
        untried = [endpoint for endpoint in self._endpoints.names() if endpoint not in failures]
        while untried:
            until = share(deadline, float("inf"), len(untried))
            kept = self._connection
            if kept:
                endpoint = kept.endpoint
            else:
                try:
                    endpoint, sock = self._endpoints.connect(untried, self._at_most(until))
                except ConnectFailed as error:
                    failures.update(error.reasons)
                    break
            try:
                if not kept:
                    self._connection = self._endpoints.secure(endpoint, sock, self._at_most(until))
                    self._endpoints.prefer(endpoint)
                    self.endpoint = endpoint
                assert self._connection
                return self._exchange(self._connection, path, data, until)
            except Stopped:
                self._drop()
                raise
            except (OSError, Unavailable, EndpointRefused) as error:
                self._drop()
                if isinstance(error, NotSent):
                    # The endpoint closes each connection after one answer.
                    if unsent:
                        unsent -= 1
                        continue
                elif isinstance(error, (ConnectionError, HttpError)):
                    # Some builds of etcd close the connection when a token is no longer valid.
                    self._login.forget()
                    # It may have closed an idle connection, which says nothing about the endpoint.
                    if kept:
                        continue
                failures[endpoint] = self._endpoints.explain(error, endpoint, until)
                self._endpoints.doubt(endpoint)
            if endpoint in untried:
                untried.remove(endpoint)
        self._endpoints.failed()
        return None

    def _exchange(self, connection: Connection, path: str, data: str, until: float) -> dict[str, Any]:
        try:
            self._log_in(connection, until)
            return self._post(connection, path, data, until)
        except Unauthenticated as error:
            self._login.wanted(error)
            self._log_in(connection, until)
            return self._post(connection, path, data, until)

    def _log_in(self, connection: Connection, until: float) -> None:
        self._login.ensure(lambda body: self._post(connection, login.PATH, body, until))

    def _post(self, connection: Connection, path: str, data: str, until: float) -> dict[str, Any]:
        at_login = path == login.PATH
        headers = {**self._login.headers(), "Content-Type": "application/json"}
        request = "POST", f"/v3/{path}", data.encode(), headers, self._at_most(until)
        status, body = exchange(connection, self._log, path, *request, secret=at_login)
        answer = understand(status, body, at_login)
        self._endpoints.stay_with(cluster_of(answer))
        return answer

    def _at_most(self, until: float) -> float:
        return min(until, time.monotonic() + self._config.read_timeout)

    def _drop(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None
