# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A stand-in for ctdbd as a parent: it starts one program and can then be killed alone.

    python3 -I parent.py STDOUT_FD REPORT_FD ARGV...     (REPORT_FD: a Unix socket, stdin: the lifeline)

There are two processes.  The *keeper* kills all its descendants when its stdin ends; orphans among them become its
children.  The *parent* starts the program and sends "PARENT-PID PROGRAM-PID TIME" and a pidfd of the program to
REPORT_FD.  Then it acts as ctdbd does: it reaps its child and goes on running.  Neither keeps a copy of the write end
of the program's stdout.
"""

import ctypes
import os
import signal
import socket
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """Call prctl(2), which Python does not offer."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def parent(stdout: int, report: int, argv: list[str]) -> None:
    """Start the program, report it, reap it, and wait until we are killed."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    started = time.monotonic()
    program = os.fork()
    if program == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(report)
        os.execvp(argv[0], argv)
    os.close(stdout)
    # Open the pidfd before the program can be reaped, so that its pid cannot be another process's.
    with socket.socket(fileno=report) as channel:
        socket.send_fds(channel, [f"{os.getpid()} {program} {started}".encode()], [os.pidfd_open(program)])
    os.waitpid(program, 0)
    while True:
        signal.pause()


def keep() -> None:
    """Wait for the end of stdin, then kill all descendants."""
    # The kernel then reaps orphans at once, as an init would.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.closerange(1, 4096)
    while os.read(0, 1):
        pass
    for _ in range(500):
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as children:
            pids = children.read().split()
        if not pids:
            break
        for pid in pids:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)


def main() -> None:
    """Start the parent of the program and become the keeper."""
    stdout, report = int(sys.argv[1]), int(sys.argv[2])
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if os.fork() == 0:
        try:
            parent(stdout, report, sys.argv[3:])
        finally:
            os._exit(127)
    keep()


if __name__ == "__main__":
    main()
