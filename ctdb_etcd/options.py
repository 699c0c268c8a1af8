# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The command line, and the file that it names."""

from __future__ import annotations

import os

from . import __version__
from .lock import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class Options:
    """What the command line says."""

    config: str | None = None
    verbose: int = 0
    status: bool = False
    check: bool = False
    json: bool = False


def parse(arguments: list[str]) -> Options:
    """Raises Refused."""
    options, left = Options(), list(arguments)
    while left:
        word = left.pop(0)
        if word in ("-v", "-vv", "-vvv"):
            options.verbose += len(word) - 1
        elif word == "-c" and left and not left[0].startswith("-"):
            options.config = left.pop(0)
        else:
            return _parse(arguments)
    return options


def _parse(arguments: list[str]) -> Options:
    # For people only: with what ctdb.conf has to say a contender would spend a tenth of its start on it.
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise Refused(f"{message}: see --help")

    parser = Parser(
        prog="ctdb_etcd_lock",
        description="Take and hold CTDB's cluster lock in etcd. ctdbd runs this, told by one line in ctdb.conf:"
        " cluster lock = !/usr/libexec/ctdb/ctdb_etcd_lock",
        allow_abbrev=False,
        epilog="Without --status or --check: prints one character: 0 holding the lock, 1 contention, 2 took too long,"
        " 3 error.",
    )
    parser.add_argument("-c", dest="config", metavar="FILE", help=f"configuration file ({default_file()})")
    parser.add_argument("-v", dest="verbose", action="count", default=0, help="say more on stderr, up to -vvv")
    parser.add_argument(
        "--status", action="store_true", help="show holder and endpoints; 0 good, 1 warning, 2 critical, 3 unknown"
    )
    parser.add_argument("--check", action="store_true", help="try all that the lock needs, without touching it; 0 good")
    parser.add_argument("--json", action="store_true", help="with --status or --check: for programs")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser.parse_args(arguments, Options())


def default_file() -> str:
    """The file that is read if the command line names none."""
    return os.path.join(os.environ.get("CTDB_BASE") or "/etc/ctdb", "ctdb_etcd_lock.conf")


def read(path: str | None) -> bytes:
    """The file's contents; none if the default file is not there: then all values are defaults. Raises Refused."""
    try:
        with open(path or default_file(), "rb") as file:
            return file.read()
    except OSError as error:
        if path is None and isinstance(error, FileNotFoundError):
            return b""
        raise Refused(f"{path or default_file()}: {error.strerror}: name a file that can be read") from None
