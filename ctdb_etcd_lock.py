#!/usr/bin/python3 -I
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""CTDB's cluster lock, kept in etcd: the command that ctdbd runs. See ctdb-etcd(7)."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import NoReturn

    from ctdb_etcd.helper import Status
    from ctdb_etcd.log import Log


def main(arguments: list[str]) -> int:
    """Run the helper; the exit status repeats the status character, which is all that CTDB looks at."""
    # Until there is something to give back, every signal may simply end us.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = os.getppid()
    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
    if not {"--status", "--check", "--json"}.isdisjoint(arguments):
        return _view(arguments)
    from ctdb_etcd import helper, log, lock

    helper.close_leaked()
    status, lines = helper.Status(), log.Log()
    try:
        _work(arguments, parent, status, lines)
    except (lock.Unavailable, lock.Refused) as failure:
        for line in str(failure).splitlines():
            lines.error(line)
        status.say(helper.TIMEOUT if isinstance(failure, lock.Unavailable) else helper.ERROR)
    except lock.Stopped:
        pass
    except Exception as error:
        # Whatever is wrong with us: CTDB is to have its character, and nobody a traceback.
        status.say(helper.ERROR)
        lines.error(f"this is a bug, please report it: {type(error).__name__} {_place(error)}: {error}")
    return int(status.said or helper.HOLDING)


def _work(arguments: list[str], parent: int, status: Status, log: Log) -> None:
    from ctdb_etcd import helper, identity
    from ctdb_etcd.lock import Refused

    options = _options(arguments)
    log.verbosity = options.verbose
    if parent <= 1:
        raise Refused("the parent process is gone or out of sight: this command is to be run by ctdbd")
    data = _read(options.config)
    # testparm takes as long as the imports: let it run beside them, unless the file makes it needless.
    testparm = None if b"netbios_name" in data else identity.testparm()
    from ctdb_etcd import config
    from ctdb_etcd.locks import open_lock
    from ctdb_etcd.proof import Witness
    from ctdb_etcd.takeover import Takeover

    settings = config.parse(options.config or _default_file(), data)
    for warning in settings.warnings:
        log.error(warning)
    for note in settings.notes:
        log.info(note)
    watch = helper.Watch(parent)
    name = settings.netbios_name or identity.name_from(testparm or identity.testparm(), watch)
    holder = identity.Holder(settings, watch)
    witness = Witness(name, holder.nonce)
    takeover = Takeover(witness, helper.elects(parent), watch, log)
    lock = open_lock(settings, name, holder, takeover, watch, log)
    helper.run(settings, lock, witness, watch, status, log)


def _view(arguments: list[str]) -> int:
    """What an operator asks: no status character, and no ctdbd above us. As a Nagios plugin: 3 for what is unknown."""
    from ctdb_etcd.lock import Refused

    try:
        options = _options(arguments)
        if options.status == options.check:
            raise Refused("--json goes with one of --status and --check: see --help")
        from ctdb_etcd import view

        return view.run(options, options.config or _default_file(), lambda: _read(options.config))
    except Refused as refusal:
        print(f"UNKNOWN: {refusal}", file=sys.stderr)
    except Exception as error:
        print(f"UNKNOWN: this is a bug, please report it: {type(error).__name__} {_place(error)}", file=sys.stderr)
    return 3


def _options(arguments: list[str]) -> argparse.Namespace:
    import argparse

    from ctdb_etcd import __version__
    from ctdb_etcd.lock import Refused

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
    parser.add_argument("-c", dest="config", metavar="FILE", help=f"configuration file ({_default_file()})")
    parser.add_argument("-v", dest="verbose", action="count", default=0, help="say more on stderr, up to -vvv")
    parser.add_argument(
        "--status", action="store_true", help="show holder and endpoints; 0 good, 1 warning, 2 critical, 3 unknown"
    )
    parser.add_argument("--check", action="store_true", help="try all that the lock needs, without touching it; 0 good")
    parser.add_argument("--json", action="store_true", help="with --status or --check: for programs")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser.parse_args(arguments)


def _default_file() -> str:
    return os.path.join(os.environ.get("CTDB_BASE") or "/etc/ctdb", "ctdb_etcd_lock.conf")


def _read(path: str | None) -> bytes:
    """The file's contents; none if the default file is not there: then all values are defaults."""
    from ctdb_etcd.lock import Refused

    try:
        with open(path or _default_file(), "rb") as file:
            return file.read()
    except OSError as error:
        if path is None and isinstance(error, FileNotFoundError):
            return b""
        raise Refused(f"{path or _default_file()}: {error.strerror}: name a file that can be read") from None


def _place(error: Exception) -> str:
    at = error.__traceback__
    while at and at.tb_next:
        at = at.tb_next
    return f"at {os.path.basename(at.tb_frame.f_code.co_filename)}:{at.tb_lineno}" if at else ""


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
