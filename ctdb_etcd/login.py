# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The login at etcd's v3 API: user name and password for a token, which goes with every request.

A token dies by its time, with the member that gave it, and by a change of the user or of any permission: the
next request says so, and is sent again after one more login. Password and token are in no line of the log.
"""

from __future__ import annotations

import json

from .lock import Refused, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .config import Config
    from .log import Log

PATH = "auth/authenticate"


class Unauthenticated(Unavailable):
    """etcd wants a login, or another one."""


class NoLogin(Refused):
    """etcd's auth is not enabled."""


class BadLogin(Refused):
    """The user name or password is wrong."""


class Login:
    """The user of the file, if any, and the token of the moment."""

    def __init__(self, config: Config, log: Log) -> None:
        self._user = config.username
        self._password = config.password
        self._token = ""
        self._needless = False
        self._log = log
        for secret in (config.password or "", json.dumps(config.password or "")[1:-1]):
            log.hide(secret)

    @property
    def active(self) -> bool:
        """Whether there is a token."""
        return bool(self._token)

    def headers(self, authenticate: Callable[[str], dict[str, Any]]) -> dict[str, str]:
        """What a request has to carry; `authenticate` sends a body to PATH and returns the answer."""
        if self._user is None or self._needless:
            return {}
        if not self._token:
            self._log_in(authenticate)
        # Without "Bearer", which only etcd 3.6 knows.
        return {"Authorization": self._token} if self._token else {}

    def _log_in(self, authenticate: Callable[[str], dict[str, Any]]) -> None:
        try:
            answer = authenticate(json.dumps({"name": self._user, "password": self._password}))
        except NoLogin:
            self._log.info("username is set, but etcd's auth is not enabled: going on without login")
            self._needless = True
            return
        except BadLogin as refusal:
            raise Refused(f"{refusal}: check username ({self._user}) and password") from None
        token = answer.get("token")
        if not isinstance(token, str) or not token or not token.isprintable():
            raise Unavailable("etcd's answer makes no sense: a login without a token")
        self._log.hide(token)
        self._log.debug(f"logged in as {self._user}")
        self._token = token

    def forget(self) -> None:
        """The token may be dead: log in again before the next request."""
        self._token = ""

    def wanted(self, why: Unauthenticated) -> None:
        """etcd wants a login: prepare for one, or raise Refused where there is no user."""
        if self._user is None:
            raise Refused(f"{why}: set username and password")
        self._needless = False
        self.forget()
