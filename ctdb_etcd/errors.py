# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The closed set of exceptions that the wings raise to each other.

Contended is the answer `1`, Unavailable `2`, Refused `3`. Lost ends a holder (before `0` it is `2`); Stopped ends the
helper without an answer. The text is the line for CTDB's log; each line of a longer text is a line of the log.
"""

from __future__ import annotations


class LockError(Exception):
    """Base of all but Stopped."""


class Contended(LockError):
    """Somebody else holds the lock; the text is the value in their key, not a line."""


class Lost(LockError):
    """The lock was ours and definitely no longer is, or must not be held any longer."""


class Unavailable(LockError):
    """No usable answer in time; a later try may succeed."""


class TooLong(Unavailable):
    """The answer is longer than the limit; the next one will be as well."""


class Refused(LockError):
    """An answer that waiting does not change; the text says what to do."""


class EndpointRefused(Refused):
    """This endpoint cannot be used; another one may."""


class GrpcOnly(EndpointRefused):
    """The endpoint speaks no HTTP/1.1: etcd's option listen-client-http-urls has moved that to another address."""

    def __init__(self) -> None:
        super().__init__("it speaks gRPC only: name the address of listen-client-http-urls")


class OtherCluster(EndpointRefused):
    """The endpoint belongs to another etcd cluster than the one expected."""


class PermissionDenied(Refused):
    """The user lacks a permission on the key."""


class LoginRefused(Refused):
    """The user name or password is wrong."""


class AuthDisabled(Refused):
    """A login was tried, but etcd's auth is not enabled."""


class Unauthenticated(Unavailable):
    """etcd requires a login, or a new one."""


class LeaseNotFound(LockError):
    """The lease of the call does not exist (any more)."""


class LeaseExists(LockError):
    """A lease with the ID of the call exists already."""


class Stopped(Exception):
    """The helper must end now (a signal, the parent's death, stdout without a reader); raised by a Waiter."""
