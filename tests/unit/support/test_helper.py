# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of Helper: it runs the program as ctdbd does, and notices all that happens to it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.support.helper import Helper, contend, full_pipe
from tests.support.machine import gone, wait_until


@pytest.fixture
def program(tmp_path: Path) -> str:
    """Return a stand-in for the program. It prints 0 and its arguments, then waits."""
    path = tmp_path / "program"
    path.write_text('#!/bin/sh\necho "args: $*" >&2\nprintf 0\nexec sleep 60\n')
    path.chmod(0o755)
    return str(path)


def test_the_program_is_run_as_ctdbd_runs_it(program: str) -> None:
    with Helper("file", "-v", program=program, env={"CTDB_BASE": "/x"}) as helper:
        assert helper.status() == "0"
        assert helper.stderr == "args: -c file -v\n"
        proc = Path(f"/proc/{helper.pid}")
        ignored = int((proc / "status").read_text().partition("SigIgn:")[2].split()[0], 16)
        # Signals 32 and 33 are libc's own. env(1) cannot reset them, and dpkg-buildpackage leaves one of them ignored.
        ignored &= ~(1 << 32 - 1 | 1 << 33 - 1)
        assert ignored == 1 << signal.SIGPIPE - 1 | 1 << signal.SIGUSR1 - 1
        assert os.readlink(proc / "fd/0") == "/dev/null"
        environment = (proc / "environ").read_text().split("\0")
        assert {line.partition("=")[0] for line in environment} <= {"", "PATH", "PWD", "CTDB_BASE"}
        assert helper.alive and helper.returncode is None
        before = time.monotonic()
        helper.terminate()
        assert before <= helper.wait_exit() <= time.monotonic()
        assert helper.wait_eof() >= before
        assert helper.returncode == -signal.SIGTERM
        assert helper.first_byte and helper.started < helper.first_byte < before


def test_missing_status_fails_the_test_with_the_program_stderr(tmp_path: Path) -> None:
    with Helper(None, "-c", "echo oh dear >&2", program="/bin/sh") as helper:
        with pytest.raises(AssertionError, match="oh dear"):
            helper.status()
        helper.wait_exit()
        assert helper.returncode == 0


@pytest.mark.parametrize("own_parent", [False, True])
def test_child_of_the_program_does_not_survive_its_end(program: str, own_parent: bool) -> None:
    with Helper(None, "-c", "sleep 61 & echo $!; exec sleep 62", program="/bin/sh", own_parent=own_parent) as helper:
        child = int(helper.wait_output())
        assert not gone(child)
        helper.kill()
        helper.wait_exit()
    wait_until(lambda: gone(child) and gone(helper.pid), "the end of all")


def test_parent_of_the_program_can_be_killed_alone(program: str) -> None:
    with Helper(None, program=program, own_parent=True) as helper:
        assert helper.status() == "0"
        assert helper.parent_pid and os.readlink(f"/proc/{helper.pid}/fd/0") == "/dev/null"
        helper.kill_parent()
        wait_until(lambda: gone(helper.parent_pid or 0), "the end of the parent")
        assert helper.alive and helper.eof is None
        parent = int(Path(f"/proc/{helper.pid}/stat").read_text().rpartition(") ")[2].split()[1])
        assert parent not in (helper.parent_pid, os.getpid())
        helper.kill()
        assert abs(helper.wait_eof() - helper.wait_exit()) < 1
    assert gone(parent)


def test_program_notices_a_closed_reader_and_a_full_log(program: str) -> None:
    reader, writer = full_pipe()
    with Helper(None, program=program, stderr=writer, extra_fds=[reader]) as helper:
        with pytest.raises(AssertionError):
            helper.status(0.2)
        os.read(reader, 65536)
        assert helper.status() == "0"
        assert os.path.exists(f"/proc/{helper.pid}/fd/{reader}")
    os.close(reader)
    os.close(writer)
    with Helper(None, "-c", "echo 0; sleep 0.1; echo more || kill $$", program="/bin/bash") as helper:
        helper.status()
        helper.close_stdout()
        helper.wait_exit()
        assert helper.returncode == -signal.SIGTERM


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace here")
def test_the_program_runs_under_strace_as_a_direct_child(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    strace = ["-o", str(trace), "-e", "trace=write", "-e", "inject=write:error=EIO:when=2"]
    with Helper(
        None,
        "-c",
        'import os; print(os.getpid(), flush=True); os.write(1, b"x")',
        program=sys.executable,
        strace=strace,
    ) as helper:
        helper.wait_exit()
        assert int(helper.stdout) == helper.pid
        assert "Input/output error" in helper.stderr
    assert "INJECTED" in trace.read_text()


def test_one_of_8_contenders_gets_the_lock(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(
        f"#!/bin/sh\nexec 9>{tmp_path}/lock\nflock -n 9 || {{ printf 1; exit; }}\nprintf 0\nexec sleep 60\n"
    )
    program.chmod(0o755)
    with contend(8, lambda number: f"{number}.conf", program=str(program)) as helpers:
        assert sorted(helper.status() for helper in helpers) == ["0"] + ["1"] * 7
        assert len({helper.started for helper in helpers}) == 1
        for helper in helpers:
            if helper.status() == "1":
                helper.wait_exit()
        assert [helper.alive for helper in helpers].count(True) == 1
