# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The parts of an answer of etcd's v3 gateway: each has its type, or Unavailable says that the answer makes no sense.

Keys and values travel in base64, 64-bit numbers as texts, and what is zero or empty not at all.
"""

from __future__ import annotations

import binascii

from ..errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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
