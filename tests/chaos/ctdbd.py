# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A stand-in for one node's ctdbd as the parent of helpers. It can be killed and stopped like the real one.

    python3 -I ctdbd.py SOCKET_FD

Each message is one JSON datagram. {"token", "name", "argv", "env"} with the descriptors for stdout and stderr starts a
helper; the reply is {"token", "pid"} with a pidfd. {"exited": pid, "code"} reports the helper's end. Helpers get what
ctdbd gives them: stdin /dev/null, SIGPIPE and SIGUSR1 ignored. `name` becomes the name of this process, because one
CTDB daemon takes the lock in elections and another one checks it.
"""

import json
import os
import select
import signal
import socket
import sys
from typing import Any


def start(channel: socket.socket, message: dict[str, Any], stdout: int, stderr: int) -> None:
    """Fork, exec and report the pid."""
    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write(message["name"])
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(stdout, 1)
            os.dup2(stderr, 2)
            os.closerange(3, 1024)
            os.execve(message["argv"][0], message["argv"], message["env"])
        finally:
            os._exit(127)
    pidfd = os.pidfd_open(pid)
    socket.send_fds(channel, [json.dumps({"token": message["token"], "pid": pid}).encode()], [pidfd])
    for fd in (stdout, stderr, pidfd):
        os.close(fd)


def reap(channel: socket.socket) -> None:
    """Report every child that has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        channel.send(json.dumps({"exited": pid, "code": os.waitstatus_to_exitcode(status)}).encode())


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    for number in (signal.SIGPIPE, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    awake, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(awake, select.POLLIN)
    poll.register(channel, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if awake in ready:
            os.read(awake, 512)
            reap(channel)
        if channel.fileno() in ready:
            try:
                data, fds, _, _ = socket.recv_fds(channel, 65536, 2)
            except ConnectionResetError:
                return
            if not data:
                return
            start(channel, json.loads(data), *fds)


if __name__ == "__main__":
    main()
