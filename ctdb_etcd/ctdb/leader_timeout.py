# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""CTDB's `leader timeout`: how long it waits for an answer of ours before some of its releases ban the node."""

from __future__ import annotations

import configparser
import os

# Seconds, from ctdb.conf(5).
_DEFAULT = 5.0


def leader_timeout() -> float:
    """The seconds that ctdb.conf sets, or CTDB's default; a file that cannot be read or understood sets none."""
    path = os.path.join(os.environ.get("CTDB_BASE") or "/etc/ctdb", "ctdb.conf")
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), allow_no_value=True)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            parser.read_file(file)
        return float(parser.get("cluster", "leader timeout", fallback=_DEFAULT))
    except (OSError, configparser.Error, ValueError, TypeError):
        return _DEFAULT
