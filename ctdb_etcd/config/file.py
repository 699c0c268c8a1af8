# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The configuration file: which one it is, and its contents.

A contender reads it before it starts testparm, and CTDB waits for both. So what parses it is a module of its own.
"""

from __future__ import annotations

import os

from ..errors import Refused


def default_path() -> str:
    """The file that is read if the command line names none."""
    return in_ctdb_base("ctdb_etcd_lock.conf")


def in_ctdb_base(name: str) -> str:
    """The path of this file in the directory that has CTDB's own files as well."""
    return os.path.join(os.environ.get("CTDB_BASE") or "/etc/ctdb", name)


def read(path: str | None) -> bytes:
    """Return the file's contents; nothing if the default file does not exist: all values are defaults then.

    Raises Refused.
    """
    try:
        with open(path or default_path(), "rb") as file:
            return file.read()
    except OSError as error:
        if path is None and isinstance(error, FileNotFoundError):
            return b""
        raise Refused(f"{path or default_path()}: {error.strerror}: name a file that can be read") from None
