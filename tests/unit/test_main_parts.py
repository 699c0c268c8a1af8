# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of how main() joins its parts, and of the status and log lines for each error, in a child or with doubles."""

from __future__ import annotations

import errno
import os
import signal
import sys
from types import SimpleNamespace

import pytest

from ctdb_etcd import main as subject
from ctdb_etcd.ctdb import cluster_name, commands, hold, process, settings
from ctdb_etcd.errors import Contended, OtherCluster, Refused, Stopped, TooLong, Unavailable
from ctdb_etcd.lock import open as lock_open
from ctdb_etcd.main import main, parse_options
from ctdb_etcd.report import command
from tests.support.fakes import Log
from tests.support.forks import in_child

# Status character and log


def answered(raised, before=""):
    """Return main()'s result, stdout and stderr if its work writes the status `before` and raises `raised`."""

    def work(arguments, parent, started, status, log):
        if before:
            status.write(before)
        if raised:
            raise raised

    def child():
        (reader, out), (log, err) = os.pipe2(os.O_NONBLOCK), os.pipe2(os.O_NONBLOCK)
        os.dup2(out, 1)
        os.dup2(err, 2)
        subject._work = work
        process.begin = lambda: 0.0
        returned = main([])
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
        os.write(2, b".")
        os.close(out)
        return returned, os.read(reader, 9), os.read(log, 999)

    return in_child(child)


@pytest.mark.parametrize(
    "raised, before, answer",
    [
        (None, "0", (0, b"0", b".")),
        (None, "1", (1, b"1", b".")),
        (Stopped("SIGTERM"), "0", (0, b"0", b".")),
        (Stopped("SIGTERM"), "", (0, b"", b".")),
        (Unavailable("a\nb"), "", (2, b"2", b"ctdb_etcd_lock: a\nctdb_etcd_lock: b\n.")),
        (TooLong("a"), "", (2, b"2", b"ctdb_etcd_lock: a\n.")),
        (Refused("a"), "", (3, b"3", b"ctdb_etcd_lock: a\n.")),
        (OtherCluster("a"), "", (3, b"3", b"ctdb_etcd_lock: a\n.")),
        (Unavailable("a"), "0", (0, b"0", b"ctdb_etcd_lock: a\n.")),
    ],
)
def test_outcome_is_one_character_and_the_lines_of_the_error(raised, before, answer):
    assert answered(raised, before) == str(answer)


@pytest.mark.parametrize("error", [ValueError("hunter2"), Contended("hunter2"), KeyError("hunter2")])
def test_bug_is_status_3_and_named_by_its_place_without_its_text(error):
    text = answered(error)
    assert text.startswith("(3, b'3', b'ctdb_etcd_lock: this is a bug, please report it: ") and "hunter2" not in text
    assert f"{type(error).__name__} at unit/test_main_parts.py:" in text


def test_lack_of_descriptors_is_status_2_with_advice():
    text = answered(OSError(errno.EMFILE, "Too many open files"))
    assert text.startswith("(2, b'2', b'ctdb_etcd_lock: this machine has no resources left: [Errno 24] Too many")
    assert "raise its limits" in text


def test_lack_of_memory_has_no_text_of_its_own():
    assert "b'ctdb_etcd_lock: this machine has no resources left: no memory: raise" in answered(MemoryError())


def test_work_begins_with_parent_start_time_and_default_sigint():
    seen = []

    def work(arguments, parent, started, status, log):
        seen.extend([arguments, parent == os.getppid(), started, signal.getsignal(signal.SIGINT)])

    def child():
        subject._work, process.begin = work, lambda: 7.0
        return main(["-v"]), seen == [["-v"], True, 7.0, signal.SIG_DFL]

    assert in_child(child) == "(0, True)"


def test_error_that_was_raised_nowhere_has_no_place():
    assert subject._unexpected(ValueError()) == "this is a bug, please report it: ValueError "


# Commands for operators


def reported(words, run=None, log=True):
    """Return main()'s result and stderr for these words, with `run` in place of the report."""

    def child():
        reader, err = os.pipe2(os.O_NONBLOCK)
        os.dup2(err, 2)
        os.write(2, b".")
        if not log:
            os.close(2)
        command.run = run
        return main(words.split()), os.read(reader, 999).decode()

    return in_child(child)


@pytest.mark.parametrize("status", [0, 1, 2])
def test_report_is_run_with_its_options_and_its_status_returned(status):
    run = lambda options: status if options.check and options.json else 9  # noqa: E731
    assert reported("--check --json", run) == f"({status}, '.')"


@pytest.mark.parametrize("words", ["--json", "--status --check"])
def test_one_report_at_a_time_is_made(words):
    says = "UNKNOWN: one of --status and --check is needed, with or without --json: see --help"
    assert reported(words, lambda options: 0) == str((3, f".{says}\n"))


def test_report_without_descriptors_says_so():
    def fails(options):
        raise OSError(errno.EMFILE, "Too many open files")

    assert "UNKNOWN: this machine has no resources left: [Errno 24] Too many" in reported("--check", fails)


def test_error_of_a_report_is_unknown():
    def fails(options):
        raise ValueError("hunter2")

    text = reported("--status", fails)
    assert text.startswith("(3, '.UNKNOWN: this is a bug, please report it: ValueError at unit/test_main_parts.py:")
    assert "hunter2" not in text
    assert reported("--status", fails, log=False) == "(3, '.')"


def test_argument_of_any_bytes_is_reported():
    assert reported("--status \udcff").startswith("(3, '.UNKNOWN: unrecognized arguments: \\\\udcff: see --help")


# The parts


class Parts:
    """Doubles of the parts. `given` has the arguments of each."""

    def __init__(self, monkeypatch, tmp_path):
        self.path, self.log, self.given = tmp_path / "x.conf", Log(), {}
        self.watch, self.lock = object(), object()
        monkeypatch.setattr(process, "HelperWaiter", self._record("watch", self.watch))
        monkeypatch.setattr(process, "elects", self._record("elects", "electing"))
        monkeypatch.setattr(hold, "run", self._record("run", None))
        monkeypatch.setattr(lock_open, "load", self._record("load", None))
        monkeypatch.setattr(lock_open, "open_lock", self._record("open_lock", self.lock))
        monkeypatch.setattr(commands, "testparm", self._record("testparm", "started"))
        monkeypatch.setattr(commands, "node_number", self._record("pnn", "asked"))
        monkeypatch.setattr(cluster_name, "find", self._record("find", "FOUND"))
        monkeypatch.setattr(settings, "elsewhere", lambda: "192.0.2.1")

    def _record(self, name, result):
        def call(*given):
            self.given[name] = given
            return result

        return call

    def work(self, text, *options, parent=77):
        self.path.write_text(text)
        subject._work(["-c", str(self.path), *options], parent, 1000.0, "status", self.log)
        return SimpleNamespace(**self.given)


@pytest.fixture
def parts(monkeypatch, tmp_path):
    return Parts(monkeypatch, tmp_path)


def test_lock_of_the_file_is_opened_and_held(parts):
    given = parts.work("netbios_name = N\nrefresh = 1.5\nlock_ttl = 20\nacquire_timeout = 3\napi = 3\n", "-v", "-vv")
    assert parts.log.verbosity == 3 and given.watch == (77,) and given.elects == (77,)
    refresh, lock, contender, deadline, watch, status, log = given.run
    assert (refresh, lock, watch, status, log) == (1.5, parts.lock, parts.watch, "status", parts.log)
    assert deadline == 1003.0
    config, name, elsewhere, *rest = given.open_lock
    assert (name, rest, elsewhere()) == ("N", [parts.watch, parts.log], "192.0.2.1")
    assert given.load == (lock_open.apis_in_use(config, None)[0],)
    assert contender.holder._lease == {"lock_ttl": 20, "refresh": 1.5}
    assert contender.holder._nonce == contender.nonce_file._nonce and len(contender.holder._nonce) == 16
    assert contender.nonce_file._path.endswith(".N")
    assert (contender._electing, contender.latest) == ("electing", 1003.0 + hold.LAST_CHANCE)
    assert (contender._waiter, contender._log) == (parts.watch, parts.log)
    assert contender.holder._ask_pnn() == "asked" and parts.given["pnn"] == (parts.watch, contender.latest)
    assert "testparm" not in parts.given and "find" not in parts.given and not parts.log.lines


def test_each_process_has_a_nonce_of_its_own(parts):
    nonces = {parts.work("netbios_name = N\n").run[2].holder._nonce for _ in range(2)}
    assert len(nonces) == 2


def test_name_is_asked_of_testparm_which_starts_first(parts):
    given = parts.work("api = 3\n")
    started, watch, deadline = given.find
    assert (started, watch, deadline) == ("started", parts.watch, 1004.0)
    assert given.testparm == () and given.open_lock[1] == "FOUND"


@pytest.mark.parametrize("line", ["#netbios_name =", "# netbios_name = N", "api = 3  # not netbios_name"])
def test_name_in_a_comment_is_none(parts, line):
    given = parts.work(f"{line}\nport = 1\n")
    assert given.find[0] == "started" and given.open_lock[1] == "FOUND"


@pytest.mark.parametrize(
    "line", ["netbios_name=N", "'netbios_name' = N # x", '  "netbios_name"="N"', "port=1\rnetbios_name=N"]
)
def test_testparm_is_not_started_for_a_file_with_a_name(parts, line):
    assert parts.work(f"#x\n{line}\n").open_lock[1] == "N" and "testparm" not in parts.given


def test_warnings_and_notes_of_the_file_are_logged(parts):
    parts.work("netbios_name = N\nca_cert = /a\nlock_refresh = 2\n")
    assert [line.partition(":")[0] for line in parts.log.lines] == ["error", "info"]
    assert "has no effect with protocol = http" in parts.log.lines[0] and "is taken for refresh" in parts.log.lines[1]


def test_file_is_followed_from_what_was_read(parts):
    config = parts.work("netbios_name = N\nhost = a\n").open_lock[0]
    assert not config.again()
    parts.path.write_text("netbios_name = N\nhost = b\n")
    assert config.again() and config.hosts == [("b", 2379)]
    assert parts.log.lines == [f"error: {parts.path} has changed and was read again"]


@pytest.mark.parametrize("parent", [0, 1])
def test_helper_without_a_parent_is_refused(parts, parent):
    with pytest.raises(Refused, match="the parent process is gone, or is process 1"):
        parts.work("netbios_name = N\n", parent=parent)
    assert not parts.given
    parts.work("netbios_name = N\n", parent=2)


# The command line


@pytest.mark.parametrize(
    "words, config, verbose",
    [
        ("", None, 0),
        ("-v", None, 1),
        ("-vv", None, 2),
        ("-vvv", None, 3),
        ("-v -c x -vv", "x", 3),
        ("-cx -vvvv", "x", 4),
        ("-c x -c y", "y", 0),
    ],
)
def test_options_of_a_helper_are_understood(monkeypatch, words, config, verbose):
    if "vvvv" not in words:  # ctdbd passes no options that need argparse
        monkeypatch.setattr(subject, "_parse_all", None)
    options = parse_options(words.split())
    assert (options.config, options.verbose) == (config, verbose)
    assert (options.status, options.check, options.json) == (False, False, False)


def test_help_that_cannot_be_printed_is_refused():
    def child():
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        sys.stdout = open(1, "w", closefd=False)
        try:
            parse_options(["--version"])
        except Refused as refusal:
            return refusal

    assert in_child(child) == "stdout cannot be written to: No space left on device"


@pytest.mark.parametrize("words", ["-c", "-c -v", "x", "x y", "--stat", "-x", "-v -c"])
def test_other_options_are_refused(words):
    with pytest.raises(Refused, match="see --help"):
        parse_options(words.split())


@pytest.mark.parametrize("words, set_ones", [("--status", "status"), ("--check --json -c x -v", "check json")])
def test_options_of_an_operator_are_understood(words, set_ones):
    options = parse_options(words.split())
    assert {name for name in ("status", "check", "json") if getattr(options, name)} == set(set_ones.split())
