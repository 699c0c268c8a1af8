# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Samba's own etcd helper, as Debian's ctdb package ships it: clusters run it before they move to ours.

It runs testparm to get the cluster's name and ctdb to get the node's number. Without a ctdbd it would crash, so the
tests give it a stand-in for the ctdb command.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .helper import PATH, Helper

_INSTALLED = "/usr/libexec/ctdb/ctdb_etcd_lock"
# The path to which our own package, if it is installed, diverts Samba's helper.
_DIVERTED = _INSTALLED + ".samba"
PROGRAM = _DIVERTED if os.path.exists(_DIVERTED) else _INSTALLED


class Samba:
    """The settings that one test's Samba helpers share: the cluster's name and an etcd endpoint with the v2 API."""

    def __init__(self, directory: Path, name: str, endpoint: str) -> None:
        host, port = endpoint.split(":")
        (directory / "smb.conf").write_text(f"[global]\nnetbios name = {name}\n")
        self.conf = directory / "etcd"
        self.conf.write_text(f"host={host}\nport={port}\n")
        commands = directory / "bin"
        commands.mkdir()
        (commands / "ctdb").write_text("#!/bin/sh\necho 0\n")
        (commands / "ctdb").chmod(0o755)
        self.env = {"SMB_CONF_PATH": str(directory / "smb.conf"), "PATH": f"{commands}:{PATH}"}

    def helper(self, **options: Any) -> Helper:
        """Start one of Samba's helpers."""
        return Helper(self.conf, program=PROGRAM, env=self.env, **options)
