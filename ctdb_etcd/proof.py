# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What makes a process unmistakable, and the proof for another one on the same machine that it is gone.

A number, even with its start time, proves nothing by itself: of two machines that go on from one snapshot each
has the other's boot ID, and none of the processes that the other has started since. So whoever holds the lock
leaves a random number where only processes of the same running machine can find it, and only who finds that
number may go on to say that the process is gone. Every doubt is a no.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Of CTDB, and emptied at each boot.
RUN = "/run/ctdb"


def passport(nonce: str) -> dict[str, Any]:
    """What proves this process, for the lock's value."""
    return {"pid": os.getpid(), "start_time": _state("self")[1], **_surroundings(), "nonce": nonce}


class Witness:
    """The file in which the last holder of one lock (by the cluster's name) on this machine left its nonce."""

    def __init__(self, name: str, nonce: str) -> None:
        self._path = f"{RUN}/ctdb_etcd_lock.{name}"
        self._nonce = nonce

    def leave(self) -> None:
        """Leave ours; OSError where that is not possible, which costs nothing but time at a takeover."""
        os.makedirs(RUN, 0o755, exist_ok=True)
        # Never through a link: it is root who writes.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(self._path, flags, 0o600), "w", encoding="ascii") as file:
            file.write(self._nonce)

    def remove(self) -> None:
        """Remove ours, not one that a successor has left."""
        try:
            if self._found() == self._nonce:
                os.unlink(self._path)
        except OSError:
            pass

    def proves_dead(self, who: dict[str, Any]) -> bool:
        """Whether the process of this passport ran on this machine and is no more. KeyError if it is none."""
        try:
            if self._found() != who["nonce"]:
                return False
            here = _surroundings()
            return {key: who[key] for key in here} == here and _gone(who["pid"], who["start_time"])
        except OSError:
            return False

    def _found(self) -> str:
        with open(self._path, encoding="ascii", errors="replace") as file:
            return file.read(64)


def _gone(pid: object, start_time: object) -> bool:
    if type(pid) is not int or type(start_time) is not int or pid <= 1:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    # From here on /proc is asked, which can be that of another PID namespace.
    if os.readlink("/proc/self") != str(os.getpid()):
        return False
    state, started = _state(str(pid))
    # Or one that waits for its parent to ask how it ended; not while other threads of it still run.
    return started != start_time or (state in "ZX" and os.listdir(f"/proc/{pid}/task") == [str(pid)])


def _state(pid: str) -> tuple[str, int]:
    """The state and the start time (clock ticks since boot), see proc(5)."""
    fields = _first_line(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _surroundings() -> dict[str, Any]:
    """Where a process's number and start time have their meaning."""
    return {
        "boot_id": _first_line("/proc/sys/kernel/random/boot_id"),
        "pid_namespace": _namespace("pid"),
        "time_namespace": _namespace("time"),
    }


def _namespace(kind: str) -> int:
    try:
        return os.stat(f"/proc/self/ns/{kind}").st_ino
    except FileNotFoundError:
        return 0  # an old kernel has none of this kind


def _first_line(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.readline().strip()
