# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The support code does what it says: on it rests what the other tests prove. (Its proxy: test_proxy.py.)"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import TREE
from tests.support.etcd import Etcd
from tests.support.helper import Helper, contend, full_pipe
from tests.support.machine import Port, Scratch, wait_until


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A stand-in for the program: says 0 and what it was given, then waits."""
    path = tmp_path / "program"
    path.write_text('#!/bin/sh\necho "args: $*" >&2\nprintf 0\nexec sleep 60\n')
    path.chmod(0o755)
    return str(path)


def gone(pid: int) -> bool:
    """Whether no process (or only its zombie) has this number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True


# etcd.


def test_three_members_survive_the_loss_of_their_leader(etcd3: Etcd, lock_name: str) -> None:
    first = etcd3.leader()
    assert [member.is_leader() for member in etcd3.members].count(True) == 1
    first.kill()
    second = etcd3.leader()
    assert second is not first
    etcd3.put(f"/x/{lock_name}", "still there")
    first.restart()
    etcd3.wait_healthy()
    second.pause()
    with socket.create_connection(("127.0.0.1", int(second.endpoint.split(":")[1])), 1) as accepted:
        accepted.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        accepted.settimeout(0.3)
        with pytest.raises(socket.timeout):
            accepted.recv(1)
    assert etcd3.leader() is not second
    assert etcd3.keys(f"/x/{lock_name}")[0]["value"] == "still there"
    second.resume()
    etcd3.wait_healthy()


def test_the_view_of_etcd_tells_keys_leases_and_revisions(etcd: Etcd, lock_name: str) -> None:
    directory = f"/x/{lock_name}/"
    lease = etcd.grant(60)
    etcd.put(directory + "b", "value", lease)
    etcd.put(directory + "a", "other")
    revision = etcd.revision()
    keys = etcd.keys(directory)
    assert [(key["key"], key["value"], key["lease"]) for key in keys] == [
        (directory + "b", "value", lease),
        (directory + "a", "other", 0),
    ]
    assert keys[1]["create_revision"] == keys[1]["mod_revision"] == revision
    assert lease in etcd.leases() and 50 < etcd.lease_left(lease) <= 60
    etcd.revoke(lease)
    assert lease not in etcd.leases() and etcd.lease_left(lease) == -1
    assert etcd.delete(directory, prefix=True) == 1
    assert etcd.keys(directory) == [] and etcd.revision() == revision + 2


def test_etcdctl_lock_takes_turns(etcd: Etcd, lock_name: str) -> None:
    with etcd.lock_process(f"/x/{lock_name}") as first:
        key = first.wait_acquired()
        assert [held["key"] for held in etcd.keys(f"/x/{lock_name}")] == [key]
        with etcd.lock_process(f"/x/{lock_name}") as second:
            wait_until(lambda: len(etcd.keys(f"/x/{lock_name}")) == 2, 5, "the second in the queue")
            assert not second.acquired
            first.release()
            assert second.wait_acquired() != key
            second.release()
    assert etcd.keys(f"/x/{lock_name}") == []


# The program.


def test_the_program_is_run_as_ctdbd_runs_it(program: str) -> None:
    with Helper("file", "-v", program=program, env={"CTDB_BASE": "/x"}) as helper:
        assert helper.status() == "0"
        assert helper.stderr == "args: -c file -v\n"
        proc = Path(f"/proc/{helper.pid}")
        ignored = int((proc / "status").read_text().partition("SigIgn:")[2].split()[0], 16)
        # 32 and 33 are libc's own, which env(1) cannot reset: dpkg-buildpackage leaves one of them ignored.
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


def test_a_missing_status_fails_with_the_stderr_of_the_program(tmp_path: Path) -> None:
    with Helper(None, "-c", "echo oh dear >&2", program="/bin/sh") as helper:
        with pytest.raises(AssertionError, match="oh dear"):
            helper.status()
        helper.wait_exit()
        assert helper.returncode == 0


@pytest.mark.parametrize("own_parent", [False, True])
def test_nothing_of_the_program_survives_its_end(program: str, own_parent: bool) -> None:
    with Helper(None, "-c", "sleep 61 & echo $!; exec sleep 62", program="/bin/sh", own_parent=own_parent) as helper:
        child = int(helper.wait_output())
        assert not gone(child)
        helper.kill()
        helper.wait_exit()
    wait_until(lambda: gone(child) and gone(helper.pid), 5, "the end of all")


def test_the_parent_of_the_program_can_be_killed_by_itself(program: str) -> None:
    with Helper(None, program=program, own_parent=True) as helper:
        assert helper.status() == "0"
        assert helper.parent_pid and os.readlink(f"/proc/{helper.pid}/fd/0") == "/dev/null"
        helper.kill_parent()
        wait_until(lambda: gone(helper.parent_pid or 0), 5, "the end of the parent")
        assert helper.alive and helper.eof is None
        parent = int(Path(f"/proc/{helper.pid}/stat").read_text().rpartition(") ")[2].split()[1])
        assert parent not in (helper.parent_pid, os.getpid())
        helper.kill()
        assert abs(helper.wait_eof() - helper.wait_exit()) < 1
    assert gone(parent)


def test_a_reader_that_goes_away_and_a_full_log_are_felt(program: str) -> None:
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


def test_of_many_contenders_one_gets_the_lock(tmp_path: Path) -> None:
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


# What is borrowed is given back.


def test_no_two_ports_are_the_same_and_a_scratch_directory_goes() -> None:
    ports = [Port() for _ in range(20)]
    assert len({port.number for port in ports}) == 20
    for port in ports:
        port.close()
    scratch = Scratch()
    (scratch.path / "file").write_text("x")
    scratch.close()
    assert not scratch.path.exists()


def test_a_killed_test_run_leaves_nothing_behind(program: str) -> None:
    script = f"""
from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.proxy import Proxy
etcd = Etcd(1).start()
proxy = Proxy(etcd.endpoints[0])
helpers = [Helper(None, program={program!r}, own_parent=own) for own in (False, True)]
[helper.status() for helper in helpers]
print(etcd.members[0].log_path.parent, etcd.members[0].pid, proxy.pid, *[helper.pid for helper in helpers],
      helpers[1].parent_pid, flush=True)
input()
"""
    env = {**os.environ, "PYTHONPATH": str(TREE)}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout
        directory, *pids = run.stdout.readline().split()
        assert Path(directory).exists() and len(pids) == 5 and not any(gone(int(pid)) for pid in pids)
        run.kill()
    wait_until(lambda: all(gone(int(pid)) for pid in pids), 5, "the end of all processes")
    wait_until(lambda: not Path(directory).exists(), 5, "the removal of the directory")
