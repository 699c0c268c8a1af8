# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The operator's commands, --status and --check: the file, the name of the lock, and what then is to be printed.

They write nothing for ctdbd and need neither ctdbd nor root, only to read the file. The report goes to stdout,
with -v what the requests say to stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from . import command, config, identity, show
from .check import Check
from .lock import LockError, Refused
from .log import Log
from .observe import Patience
from .status import UNKNOWN, Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .config import Config
    from .options import Options


def run(options: Options, path: str, read: Callable[[], bytes]) -> int:
    """Print the report; the exit status. `read` gives the contents of the file at `path`, or raises Refused."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # What the requests would say is in the report.
    log = Log(options.verbose or -1)
    code, text, report = _check(path, read, log) if options.check else _status(path, read, log)
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if options.json else text)
    sys.stdout.flush()
    return code


def _status(path: str, read: Callable[[], bytes], log: Log) -> tuple[int, str, object]:
    status, waiter = Status(path, log), Patience()
    try:
        settings = config.parse(path, read())
    except Refused as refusal:
        for line in str(refusal).splitlines():
            status.problem(UNKNOWN, line)
    else:
        name, name_from = "", ""
        log.hide(settings.password or "")
        try:
            name, name_from = _name(settings, waiter)
        except LockError as failure:
            status.problem(UNKNOWN, str(failure))
        status.look(settings, name, name_from, waiter)
    code = status.verdict()
    return code, show.status(status.report), status.report


def _check(path: str, read: Callable[[], bytes], log: Log) -> tuple[int, str, object]:
    check, waiter = Check(path, log), Patience()
    try:
        settings = config.parse(path, read())
    except Refused as refusal:
        for line in str(refusal).splitlines():
            check.note("fault", "file", line)
    else:
        name = ""
        log.hide(settings.password or "")
        check.note("ok", "file", path if os.path.exists(path) else f"{path} is not there: all values are defaults")
        for warning in settings.warnings:
            check.note("warning", "file", warning)
        try:
            name, name_from = _name(settings, waiter)
            check.note("ok", "name", f"{name}, from {name_from}")
        except LockError as failure:
            check.note("fault", "name", str(failure))
        check.look(settings, name, waiter)
    code = check.verdict()
    return code, show.check(check.report), check.report


def _name(settings: Config, waiter: Patience) -> tuple[str, str]:
    """The cluster's name and where it is from. Raises Refused, Unavailable."""
    if settings.netbios_name:
        return settings.netbios_name, "netbios_name"
    return identity.name_from(command.testparm(), waiter), "testparm"
