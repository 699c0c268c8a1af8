# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What an answer of etcd's v3 gateway means: its JSON object, or the exception that its message stands for."""

from __future__ import annotations

import binascii
import json

from ..errors import (
    AuthDisabled,
    EndpointRefused,
    LeaseExists,
    LeaseNotFound,
    LoginRefused,
    PermissionDenied,
    Refused,
    Unauthenticated,
    Unavailable,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


# etcd's messages (api/v3rpc/rpctypes/error.go) and what they mean; after any other message a call is tried again.
# The HTTP status is not used: it differs between releases for the same error.
_MESSAGES = (
    ("requested lease not found", LeaseNotFound, ""),
    ("lease already exists", LeaseExists, ""),
    ("permission denied", PermissionDenied, ""),
    ("user name is empty", Unauthenticated, ""),
    ("invalid auth token", Unauthenticated, ""),
    ("revision of auth store is old", Unauthenticated, ""),
    ("authentication failed", LoginRefused, ""),
    ("authentication is not enabled", AuthDisabled, ""),
    ("Not Found", EndpointRefused, "the v3 API is not served: this needs etcd 3.4 or later"),
)
# What else it says to a login.
_AT_LOGIN = ("no leader", "leader changed", "request timed out", "too many requests", "rpc not supported for learner")
# Characters of a message that a line quotes: etcd's are shorter.
_QUOTED_MAX = 400
_COMMON_NAME = "CommonName of client"
_NOT_SERVED = (
    "the v3 API is not served at /v3 (HTTP status {}): this needs etcd 3.4 or later with its gateway"
    " (enable-grpc-gateway: true in etcd's configuration file)"
)


def understand(status: int, body: bytes, at_login: bool = False) -> dict[str, Any]:
    """Return the answer's object, or raise the exception that etcd's message stands for.

    An answer to the login is not quoted: it could repeat the password. It is only compared with known messages.
    """
    try:
        # A stream's answer is one object a line; ours has one line.
        answer, _ = json.JSONDecoder().raw_decode(body.decode("utf-8"))
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise _understand_text(status, body, at_login)
    error = answer.get("error")
    if status == 200 and not error:
        return answer
    # On streams the error is an object; from 3.6 on there is only `message`.
    message = str(error.get("message") if isinstance(error, dict) else answer.get("message") or error)[:_QUOTED_MAX]
    for part, kind, what_to_do in _MESSAGES:
        if part in message:
            raise kind(f"etcd says: {part if at_login else message}" + (f": {what_to_do}" if what_to_do else ""))
    if at_login:
        message = next((part for part in _AT_LOGIN if part in message), "what may repeat the password")
    raise Unavailable(f"etcd says: {message} (HTTP status {status})")


def _understand_text(status: int, body: bytes, at_login: bool) -> Exception:
    """What an answer without a JSON object means."""
    if status in (404, 405, 501):
        return EndpointRefused(_NOT_SERVED.format(status))
    if status == 400 and b"HTTPS server" in body:
        return EndpointRefused("it speaks https only: set protocol = https")
    if _COMMON_NAME.encode() in body:
        # With auth enabled etcd could not know which of two users is meant.
        text = _COMMON_NAME if at_login else body[:200].decode("utf-8", "replace").strip()
        return Refused(f"etcd says: {text}: let cert be a certificate without a CN, the user is username")
    return Unavailable(f"an answer that is not JSON (HTTP status {status})")


def advice(user: str | None, body: dict[str, Any]) -> str:
    """Which permission the request lacks, and how to grant it."""
    key = body.get("key") or next((compare["key"] for compare in body.get("compare", [])), None)
    directory = binascii.a2b_base64(key).decode().rpartition("/")[0] + "/" if key else "the lock's directory"
    return (
        f"user {user} needs readwrite permission on {directory}:"
        f" etcdctl role grant-permission ROLE --prefix=true readwrite {directory}"
    )
