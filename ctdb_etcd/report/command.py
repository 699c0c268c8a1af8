# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The operator's commands, --status and --check: the file, the name of the lock, and what is printed.

They print no status character and need neither ctdbd nor root, only permission to read the file. The report goes to
stdout; with -v the log of the requests goes to stderr.
"""

from __future__ import annotations

import json
import signal
import sys
import time

from ..config import file
from ..config.parse import Config, parse
from ..ctdb import cluster_name
from ..ctdb.commands import TESTPARM_SECONDS
from ..errors import LockError, Refused
from ..log import Log
from ..waiting import Patient
from . import text
from .check import Check
from .status import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..main import Options


class Subject:
    """What a report is about: the file and the lock's name, or the faults because of which one of them is not known."""

    def __init__(self, named: str | None, waiter: Patient) -> None:
        self.path = named or file.default_path()
        self.config: Config | None = None
        self.name = self.name_from = ""
        self.faults: list[str] = []
        try:
            self.config = parse(self.path, file.read(named))
            if self.config.netbios_name:
                self.name, self.name_from = self.config.netbios_name, "netbios_name"
            else:
                self.name = cluster_name.find(None, waiter, time.monotonic() + TESTPARM_SECONDS)
                self.name_from = "testparm"
        except LockError as failure:
            self.faults = str(failure).splitlines()


def run(options: Options) -> int:
    """Print the report; return the exit status. Raises Refused where it cannot be printed."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if not sys.stdout:
        raise Refused("the report cannot be printed: stdout is closed")
    # What the requests would log is in the report.
    log = Log(options.verbose or -1)
    waiter = Patient()
    subject = Subject(options.config, waiter)
    view: Check | Status = Check(subject.path, log) if options.check else Status(subject.path, log)
    view.look(subject, waiter)
    code = view.verdict()
    shown = text.check if options.check else text.status
    words = json.dumps(view.report, indent=2) + "\n" if options.json else shown(view.report)
    try:
        # A locale of ISO 8859-1 lacks most characters.
        sys.stdout.buffer.write(words.encode(sys.stdout.encoding, "backslashreplace"))
        sys.stdout.buffer.flush()
    except OSError as error:
        raise Refused(f"the report cannot be printed: {error.strerror}") from None
    return code
