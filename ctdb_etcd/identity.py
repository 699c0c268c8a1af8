# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Which lock (the cluster's netbios name, asked of testparm) and who we are (what the lock's value says).

The name must be the same on every node and belong to no other cluster. What testparm answers where smb.conf
sets none is the host's own name: every node would hold a lock of its own. That is refused, as is whatever
cannot name a lock.
"""

from __future__ import annotations

import json
import os
import re
import time

from . import __version__
from .command import NOT_RUN, TESTPARM_SECONDS, Command
from .lock import Refused, Unavailable
from .proof import passport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .lock import Waiter

NAME_ALLOWED = "at most 63 ASCII letters, digits and any of !@$&()_'{}~^.-, but not . or .. alone"

_NAME = re.compile(r"[A-Za-z0-9!@$&()_'{}~^.-]{1,63}")
_OWN_NAME = "set netbios_name in the configuration file, the same on all nodes"
_IN_SMB_CONF = re.compile(r"^\s*netbios\s*name\s*=\s*\S", re.IGNORECASE | re.MULTILINE)

_PNN_SECONDS = 1.0


def check_name(name: str) -> str:
    """Return the name as a component of an etcd path, or raise ValueError saying what is allowed.

    NetBIOS would take blanks and more; here they would need quoting in etcdctl and in v2's URLs.
    """
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise ValueError(NAME_ALLOWED)
    return name


def name_from(command: Command, waiter: Waiter) -> str:
    """The cluster's netbios name as testparm answered. Raises Refused, Unavailable."""
    try:
        status, out, err = command.output(waiter)
    except TimeoutError:
        raise Unavailable(f"testparm gave no answer in {TESTPARM_SECONDS:g} s: {_OWN_NAME}") from None
    if status == NOT_RUN:
        raise Refused(f"testparm cannot be run ({err}): install Samba's tools, or {_OWN_NAME}")
    name = out[:-1] if out.endswith("\n") else out
    if status or not name:
        reason = " ".join(err.split()[-30:]) or "it printed nothing"
        raise Refused(f"testparm gave no netbios name ({status}: {reason}): mend smb.conf, or {_OWN_NAME}")
    try:
        check_name(name)
    except ValueError as error:
        fault = f"the netbios name {name[:64]!r} cannot name a lock, which takes {error}"
        raise Refused(f"{fault}: {_OWN_NAME}") from None
    if name == _default_name() and not _set_in_smb_conf(err):
        raise Refused(
            f"smb.conf sets no netbios name, and {name} is this host's own name, which differs on every node:"
            f" set 'netbios name' in smb.conf on all nodes, or {_OWN_NAME}"
        )
    return name


def _default_name() -> str:
    """What Samba takes for the netbios name where none is set."""
    return os.uname().nodename.split(".")[0][:15].upper()


def _set_in_smb_conf(messages: str) -> bool:
    """A cluster may bear the name of one of its hosts: then smb.conf must say so in so many words."""
    path = re.search(r"^Load smb config files from (.+)$", messages, re.MULTILINE)
    if not path:
        return False
    try:
        with open(path[1], encoding="utf-8", errors="replace") as file:
            return bool(_IN_SMB_CONF.search(file.read()))
    except OSError:
        return False


class Holder:
    """Who we are, as the lock's key says it: JSON, for people and to prove whether this very process still lives."""

    def __init__(self, lock_ttl: int, refresh: float, nonce: str, waiter: Waiter) -> None:
        """The nonce is a random text that no other helper has, not even in a clone of this machine."""
        self._lease = {"lock_ttl": lock_ttl, "refresh": refresh}
        self._nonce = nonce
        self._waiter = waiter
        self._pnn: Command | None = None
        self._text = ""

    def begin(self) -> None:
        """Start to ask CTDB for this node's number: it takes as long as a request or two to etcd."""
        if self._pnn is None:
            self._pnn = Command(["ctdb", "pnn"], _PNN_SECONDS)

    def text(self) -> str:
        """The value for the lock's key, the same each time. Raises Stopped."""
        if not self._text:
            who = {
                "node": os.uname().nodename,
                "pnn": self._number(),
                "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "version": __version__,
            }
            self._text = json.dumps({**who, **self._lease, **passport(self._nonce)})
        return self._text

    def _number(self) -> int | None:
        self.begin()
        assert self._pnn
        try:
            status, out, _ = self._pnn.output(self._waiter)
        except TimeoutError:
            return None
        number = out.strip()
        return int(number) if status == 0 and number.isdecimal() else None


def describe(text: str) -> str:
    """Who a lock's value says that its holder is, for a line of the log."""
    try:
        who = json.loads(text)
        pnn = "" if who["pnn"] is None else f"pnn {who['pnn']}, "
        return f"node {who['node']}, {pnn}pid {who['pid']}, since {who['since']}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"somebody else ({text[:80]!r})" if text else "somebody else"
