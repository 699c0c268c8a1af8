# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The operator's commands, --status and --check: the file, the name of the lock, and what is printed.

They print no status character and need neither ctdbd nor root, only permission to read the file. The report goes to
stdout; with -v the log of the requests goes to stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from ..config import file
from ..config.parse import parse
from ..ctdb import cluster_name
from ..ctdb.commands import TESTPARM_SECONDS
from ..ctdb.leader_timeout import leader_timeout
from ..errors import LockError, Refused
from ..log import Log
from ..waiting import Patient
from . import text
from .check import Check
from .status import UNKNOWN, Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.parse import Config
    from ..main import Options


class Subject:
    """What a report is about: the file and the lock's name, or why they are not known."""

    def __init__(self, path: str | None, waiter: Patient) -> None:
        self.path = path or file.default_path()
        self.config: Config | None = None
        self.faults: list[str] = []
        self.name = self.name_from = self.name_fault = ""
        try:
            self.config = parse(self.path, file.read(path))
        except Refused as refusal:
            self.faults = str(refusal).splitlines()
            return
        try:
            self.name, self.name_from = cluster_name.find(
                self.config, None, waiter, time.monotonic() + TESTPARM_SECONDS
            )
        except LockError as failure:
            self.name_fault = str(failure)


def run(options: Options) -> int:
    """Print the report; return the exit status. Raises Refused where it cannot be printed."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if not sys.stdout:
        raise Refused("the report cannot be printed: stdout is closed")
    # What the requests would log is in the report.
    log = Log(options.verbose or -1)
    waiter = Patient()
    subject = Subject(options.config, waiter)
    code, shown, report = (_check if options.check else _status)(subject, waiter, log)
    words = json.dumps(report, indent=2) + "\n" if options.json else shown
    try:
        # A locale of ISO 8859-1 lacks most characters.
        sys.stdout.buffer.write(words.encode(sys.stdout.encoding, "backslashreplace"))
        sys.stdout.buffer.flush()
    except OSError as error:
        raise Refused(f"the report cannot be printed: {error.strerror}") from None
    return code


def _status(subject: Subject, waiter: Patient, log: Log) -> tuple[int, str, object]:
    status = Status(subject.path, log)
    for fault in subject.faults:
        status.problem(UNKNOWN, fault)
    if subject.config:
        if subject.name_fault:
            status.problem(UNKNOWN, subject.name_fault)
        status.look(subject.config, subject.name, subject.name_from, waiter)
    code = status.verdict()
    return code, text.status(status.report), status.report


def _check(subject: Subject, waiter: Patient, log: Log) -> tuple[int, str, object]:
    check = Check(subject.path, log)
    for fault in subject.faults:
        check.note("fault", "file", fault)
    if subject.config:
        there = os.path.exists(subject.path)
        check.note("ok", "file", subject.path if there else f"{subject.path} is not there: all values are defaults")
        sambas = os.path.join(os.path.dirname(subject.path), "etcd")
        if not there and os.path.exists(sambas):
            why = f"{sambas} is there, the file of Samba's helper, which this program does not read"
            check.note("warning", "file", f"{why}: copy it to {subject.path}")
        for warning in subject.config.warnings:
            check.note("warning", "file", warning)
        timeout = leader_timeout()
        if subject.config.acquire_timeout + 0.5 > timeout:
            why = f"acquire_timeout = {subject.config.acquire_timeout:g} leaves CTDB's leader timeout ({timeout:g} s)"
            check.note("warning", "file", f"{why} no half second: some releases of CTDB ban the node; lower it")
        if subject.name_fault:
            check.note("fault", "name", subject.name_fault)
        else:
            check.note("ok", "name", f"{subject.name}, from {subject.name_from}")
        check.look(subject.config, subject.name, waiter)
    code = check.verdict()
    return code, text.check(check.report), check.report
