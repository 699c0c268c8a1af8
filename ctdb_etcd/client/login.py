# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The login at etcd's v3 API: user name and password for a token, which goes with every request.

A token ends after its time, with the member that gave it, and when the user or any permission changes. The next
request then fails and is sent again after one more login. The log shows neither password nor token where they travel:
in the login's request and answer, and in the header Authorization. It does not look for them elsewhere: a line from
which whatever equals the password is missing would give the password away.
"""

from __future__ import annotations

import json

from ..errors import AuthDisabled, LoginRefused, Refused, Unauthenticated, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ..config.parse import Config
    from ..log import Log

PATH = "auth/authenticate"


def masked(headers: dict[str, str]) -> dict[str, str]:
    """The header fields of a request for the log."""
    return {name: "***" if name.lower() == "authorization" else value for name, value in headers.items()}


class Login:
    """The user of the file, if any, and the token of the moment."""

    def __init__(self, config: Config, log: Log) -> None:
        self._config = config
        self._token = ""
        self._not_needed = False
        self._log = log

    def headers(self) -> dict[str, str]:
        """The headers with the token there is, if any."""
        # The raw token: "Bearer" is understood only from 3.5.32, 3.6.13 and 3.7.0 on.
        return {"Authorization": self._token} if self._token else {}

    def ensure(self, authenticate: Callable[[str], dict[str, Any]]) -> None:
        """Log in if necessary; `authenticate` posts a body to PATH and returns the answer."""
        user = self._config.username
        if user is None or self._not_needed or self._token:
            return
        try:
            answer = authenticate(json.dumps({"name": user, "password": self._config.password}))
        except AuthDisabled:
            self._log.info("username is set, but etcd's auth is not enabled: continuing without login")
            self._not_needed = True
            return
        except LoginRefused as refusal:
            raise Refused(f"{refusal}: check username ({user}) and password") from None
        token = answer.get("token")
        if not isinstance(token, str) or not token or not token.isprintable():
            raise Unavailable("etcd's answer makes no sense: a login without a token")
        self._log.debug(f"logged in as {user}")
        self._token = token

    def forget(self) -> None:
        """The token may be invalid: log in again before the next request."""
        self._token = ""

    def wanted(self, why: Unauthenticated) -> None:
        """etcd requires a login: prepare for one, or raise Refused where there is no user."""
        if self._config.username is None:
            raise Refused(f"{why}: set username and password")
        self._not_needed = False
        self.forget()
