# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The command: its options, and the few lines that join the parts.

CTDB waits for this command on every node in every recovery. So what takes time by itself starts first, and a module is
imported only where it is needed.
"""

from __future__ import annotations

import os
import signal
import sys

from . import __version__
from .errors import Refused, Stopped, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, NoReturn

    from .ctdb.process import Status
    from .log import Log


def main(arguments: list[str]) -> int:
    """Run the helper. The exit status repeats the status character; CTDB reads only the character."""
    # First, since a parent that dies meanwhile gives us another one.
    parent = os.getppid()
    # As long as there is nothing to release, a signal may simply end the process.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if not {"--status", "--check", "--json"}.isdisjoint(arguments):
        return _report(arguments)
    from . import log
    from .ctdb import process

    status, lines = process.Status(), log.Log()
    try:
        _work(arguments, parent, process.begin(), status, lines)
    except (Unavailable, Refused) as failure:
        status.write(process.TIMEOUT if isinstance(failure, Unavailable) else process.ERROR)
        for line in str(failure).splitlines():
            lines.error(line)
    except Stopped:
        pass
    except Exception as error:
        # CTDB must get its character in any case; nobody can use a traceback.
        status.fail(error)
        lines.error(_unexpected(error))
    return int(status.written or 0)


def _work(arguments: list[str], parent: int, started: float, status: Status, log: Log) -> None:
    options = parse_options(arguments)
    log.verbosity = options.verbose
    if parent <= 1:
        raise Refused(
            "the parent process is gone, or is process 1: ctdbd must run this command, and in a container ctdbd needs"
            " an init above it (docker run --init)"
        )
    from .config import file

    data = file.read(options.config)
    testparm = None
    # The packaged file has it in a comment. No key stands after a #.
    if not any(b"netbios_name" in line.partition(b"#")[0] for line in data.splitlines()):
        from .ctdb import commands

        # It takes as long as the imports: let it run beside them.
        testparm = commands.testparm()
    _find_packages()
    from .config.parse import parse
    from .ctdb import hold, process
    from .lock.holder import Holder
    from .lock.open import apis_in_use, load, open_lock
    from .lock.takeover import Contender, NonceFile

    path = options.config or file.default_path()
    config = parse(path, data)
    config.follow(path, data, log)
    for warning in config.warnings:
        log.error(warning)
    for note in config.notes:
        log.info(note)
    waiter = process.HelperWaiter(parent)
    deadline = started + config.acquire_timeout
    latest = deadline + hold.LAST_CHANCE
    # testparm runs meanwhile.
    load(apis_in_use(config, None)[0])
    name = config.netbios_name
    if not name:
        from .ctdb import cluster_name

        name = cluster_name.find(testparm, waiter, deadline)

    def ask_pnn() -> Callable[[], int | None]:
        from .ctdb import commands

        return commands.node_number(waiter, latest)

    nonce = os.urandom(8).hex()
    holder = Holder(config.lock_ttl, config.refresh, nonce, ask_pnn)
    contender = Contender(holder, NonceFile(name, nonce), process.elects(parent), latest, waiter, log)
    lock = open_lock(config, name, _elsewhere, waiter, log)
    hold.run(config.refresh, lock, contender, deadline, waiter, status, log)


def _elsewhere() -> str:
    # Needed by few of those who take the lock.
    from .ctdb import settings

    return settings.elsewhere()


def _find_packages() -> None:
    """Let configobj and python-etcd be imported. Python's option -S has left that until testparm runs."""
    if sys.flags.no_site:
        import site

        site.main()


def _report(arguments: list[str]) -> int:
    """The operator's commands: no status character, no ctdbd as the parent. 3 is unknown, as for a Nagios plugin."""
    try:
        options = parse_options(arguments)
        if options.status == options.check:
            raise Refused("one of --status and --check is needed, with or without --json: see --help")
        _find_packages()
        from .report import command

        return command.run(options)
    except Refused as refusal:
        fault = str(refusal)
    except Exception as error:
        fault = _unexpected(error)
    try:
        os.write(2, f"UNKNOWN: {fault}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass
    return 3


def _unexpected(error: Exception) -> str:
    """What to say of an error that is none of errors: of a bug without its text, which may quote a secret."""
    from .ctdb.process import is_scarcity

    if is_scarcity(error):
        what = str(error) or "no memory"
        return f"this machine has no resources left: {what}: raise its limits or find what uses them up"
    at = error.__traceback__
    while at and at.tb_next:
        at = at.tb_next
    # With the folder: two wings may have files of one name.
    place = f"at {'/'.join(at.tb_frame.f_code.co_filename.split('/')[-2:])}:{at.tb_lineno}" if at else ""
    return f"this is a bug, please report it: {type(error).__name__} {place}"


class Options:
    """What the command line says."""

    config: str | None = None
    verbose: int = 0
    status: bool = False
    check: bool = False
    json: bool = False


def parse_options(arguments: list[str]) -> Options:
    """Raises Refused."""
    options, left = Options(), list(arguments)
    while left:
        word = left.pop(0)
        if word in ("-v", "-vv", "-vvv"):
            options.verbose += len(word) - 1
        elif word == "-c" and left and not left[0].startswith("-"):
            options.config = left.pop(0)
        else:
            return _parse_all(arguments)
    return options


def _parse_all(arguments: list[str]) -> Options:
    # For people only: argparse would take a tenth of the start of a contender, whose command line is simple.
    import argparse

    from .config.file import default_path

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise Refused(f"{message}: see --help")

        def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
            # Flush what --help or --version printed: at its end the interpreter would try, and show a traceback.
            try:
                print(end="", flush=True)
            except OSError as error:
                raise Refused(f"stdout cannot be written to: {error.strerror}") from None
            raise SystemExit(status)

    parser = Parser(
        prog="ctdb_etcd_lock",
        description="Take and hold CTDB's cluster lock in etcd. ctdbd runs this because of one line in ctdb.conf:"
        " cluster lock = !/usr/libexec/ctdb/ctdb_etcd_lock",
        allow_abbrev=False,
        epilog="Without --status or --check: prints one character: 0 holding the lock, 1 contention, 2 took too long,"
        " 3 error.",
    )
    default = default_path().replace("%", "%%")
    parser.add_argument("-c", dest="config", metavar="FILE", help=f"configuration file ({default})")
    parser.add_argument("-v", dest="verbose", action="count", help="log more on stderr, up to -vvv")
    parser.add_argument(
        "--status", action="store_true", help="show holder and endpoints; 0 good, 1 warning, 2 critical, 3 unknown"
    )
    parser.add_argument("--check", action="store_true", help="try all that the lock needs, without touching it; 0 good")
    parser.add_argument("--json", action="store_true", help="with --status or --check: for programs")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser.parse_args(arguments, Options())
