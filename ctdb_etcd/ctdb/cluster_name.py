# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The cluster's name, which names the lock: netbios_name of the file, or what testparm answers.

It must be the same on every node and belong to no other cluster. Where smb.conf sets none, testparm answers with the
host's own name: every node would hold a lock of its own. That is refused, as is what cannot name a lock.
"""

from __future__ import annotations

import os
import re
import time

from ..config.keys import path_component
from ..errors import Refused, Unavailable
from .commands import NOT_RUN, testparm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..waiting import Waiter
    from .commands import Command

_OWN_NAME = "set netbios_name in the configuration file, the same on all nodes"
# SELinux forbids root too. testparm reports it as an error in the file.
_FORBIDDEN = "reading it is not permitted (SELinux?): see SELINUX in ctdb-etcd(7)"
_IN_SMB_CONF = rb"(?im)^[ \t]*netbios[ \t]*name[ \t]*=[ \t]*(.*?)[ \t\r]*$"


def find(started: Command | None, waiter: Waiter, deadline: float) -> str:
    """The name that testparm answers. Raises Refused, Unavailable (deadline), OSError, Stopped.

    `started` is a testparm() that runs already.
    """
    command = started or testparm()
    began = time.monotonic()
    try:
        status, out, err = command.output(waiter, deadline)
    except TimeoutError:
        raise Unavailable(f"testparm gave no answer in {time.monotonic() - began:.1f} s: {_OWN_NAME}") from None
    if status == NOT_RUN:
        raise Refused(f"testparm cannot be run ({err}): install Samba's tools, or {_OWN_NAME}")
    if status < 0 and not out:  # with output: we have killed it, for too much of it
        # Such as by the kernel when memory is short: smb.conf may be right.
        raise Unavailable(f"testparm was ended by signal {-status}: {_OWN_NAME}")
    name = out.removesuffix("\n")
    if status or not name:
        reason = " ".join(err.split()[-30:]) or "it printed nothing"
        advice = _FORBIDDEN if _smb_conf(err) is None else "correct smb.conf"
        raise Refused(f"testparm gave no netbios name ({status}: {reason}): {advice}, or {_OWN_NAME}")
    try:
        path_component(name)
    except ValueError as error:
        fault = f"the netbios name {name[:64]!r} cannot name a lock, which takes {error}"
        raise Refused(f"{fault}: {_OWN_NAME}") from None
    # A cluster may have the name of one of its hosts: then smb.conf must set just that. Samba ignores a name that
    # stands in the section of a share.
    if is_hosts_own(name) and name.encode() not in map(bytes.upper, re.findall(_IN_SMB_CONF, _smb_conf(err) or b"")):
        raise Refused(
            f"smb.conf itself sets no netbios name in [global], and {name} is this host's own name, which differs on"
            f" every node: set 'netbios name' there on all nodes, or {_OWN_NAME}"
        )
    return name


def is_hosts_own(name: str) -> bool:
    """Whether Samba uses this netbios name on this host where none is set."""
    host = os.uname().nodename.split(".")[0].upper()
    # testparm of 4.17 prints a long one in full; NetBIOS cuts it.
    return name in (host, host[:15])


def _smb_conf(messages: str) -> bytes | None:
    """The file that testparm says it has read; None if reading it is forbidden, empty if it cannot be read."""
    path = re.search(r"^Load smb config files from (.+)$", messages, re.MULTILINE)
    try:
        with open(path[1].encode() if path else b"", "rb") as file:
            return file.read()
    except PermissionError:
        return None
    except (OSError, ValueError):  # ValueError: a path with a NUL
        return b""
