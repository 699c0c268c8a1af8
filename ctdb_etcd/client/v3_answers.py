# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What an answer of etcd's v3 gateway means: a JSON object, or the exception that its message stands for.

Each part of the object has its type, or Unavailable says that the answer makes no sense. Keys and values travel in
base64, 64-bit numbers as texts, and what is zero or empty not at all.
"""

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
# Other messages that may be quoted from the answer to a login.
_AT_LOGIN = (
    *("no leader", "leader changed", "request timed out", "too many requests", "rpc not supported for learner"),
    *("server stopped", "transport is closing", "client connection is closing", "connection error"),
)
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
            raise kind(f"etcd reports: {part if at_login else message}" + (f": {what_to_do}" if what_to_do else ""))
    if at_login:
        message = next((part for part in _AT_LOGIN if part in message), "what may repeat the password")
    raise Unavailable(f"etcd reports: {message} (HTTP status {status})")


def _understand_text(status: int, body: bytes, at_login: bool) -> Exception:
    """What an answer without a JSON object means."""
    if status in (404, 405, 501):
        return EndpointRefused(_NOT_SERVED.format(status))
    if status == 400 and b"HTTPS server" in body:
        return EndpointRefused("it speaks https only: set protocol = https")
    if _COMMON_NAME.encode() in body:
        # With auth enabled etcd could not know which of two users is meant.
        text = _COMMON_NAME if at_login else body[:200].decode("utf-8", "replace").strip()
        return Refused(f"etcd reports: {text}: let cert be a certificate without a CN, the user is username")
    return Unavailable(f"an answer that is not JSON (HTTP status {status})")


def advice(user: str | None, body: dict[str, Any]) -> str:
    """Which permission the request lacks, and how to grant it."""
    key = body.get("key") or next((compare["key"] for compare in body.get("compare", [])), None)
    directory = text(key).rpartition("/")[0] + "/" if key else "the lock's directory"
    return (
        f"user {user} needs readwrite permission on {directory}, if that is the directory of all nodes (else correct"
        f" the file): etcdctl role grant-permission ROLE --prefix=true readwrite {directory}"
    )


def base64(text: str) -> str:
    """A key or a value as a request has it."""
    return binascii.b2a_base64(text.encode(), newline=False).decode()


def text(data: object) -> str:
    """A key or a value."""
    try:
        return binascii.a2b_base64(str(data)).decode("utf-8", "backslashreplace")
    except ValueError:
        raise Unavailable("etcd's answer makes no sense: not base64") from None


def mapping(part: object) -> dict[str, Any]:
    """A part that is an object."""
    if not isinstance(part, dict):
        raise Unavailable("etcd's answer makes no sense: an object is missing")
    return part


def items(part: object) -> list[Any]:
    """A part that is a list."""
    if not isinstance(part, list):
        raise Unavailable("etcd's answer makes no sense: a list is missing")
    return part


def int64(part: object, field: str) -> int:
    """The number in a field of an object."""
    try:
        number = int(mapping(part).get(field, 0))
        if is_int64(number):
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise Unavailable(f"etcd's answer makes no sense: {field} is no number")


def is_int64(found: object) -> bool:
    """Whether it is a number as etcd's are."""
    return type(found) is int and -(1 << 63) <= found < 1 << 63


def raft_term(answer: object) -> int:
    """The term in which a member gave the answer."""
    return int64(mapping(answer).get("header", {}), "raft_term")


def cluster_of(answer: dict[str, Any]) -> int:
    """The ID of the cluster that an answer is from."""
    try:
        # A stream's answer has it one level down.
        header = answer.get("header") or answer["result"]["header"]
        return int(header["cluster_id"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise Unavailable("etcd's answer makes no sense: it names no cluster") from None
