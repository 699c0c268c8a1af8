# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Runs the helpers on every node as ctdbd does, and records the events that it sees.

A node that does not hold tries to take the lock repeatedly, as in elections (sooner than ctdbd does, to save time).
Whenever a node has taken the lock there is a recovery: every node runs a helper to check the lock and gives it 5 s.
`0` from a check means that nobody held the lock: ctdbd releases it at once. End-of-file after `0` means that the lock
is lost.

A single thread does all this, records the times, and follows etcd's watches, so its order is the order of events.
"""

from __future__ import annotations

import json
import os
import random
import select
import socket
import threading
import time
from typing import Callable, Optional

from .etcd import StormyEtcd, Watch
from .nodes import FakeNode, Run
from .record import Change, Operation, Record

RETRY = (0.2, 1.2)  # s; ctdbd retries 5 s after contention
CHECK_EVERY = (1.0, 8.0)  # s between recoveries for other reasons


class Driver(threading.Thread):
    """Plays every ctdbd until `finish`."""

    def __init__(self, nodes: list[FakeNode], etcd: StormyEtcd, record: Record, seed: int) -> None:
        super().__init__(daemon=True)
        self.nodes = nodes
        self.record = record
        self.error: Optional[BaseException] = None
        self._seen = {False: 1, True: 1}  # the last known revision of v3 (False) and v2 (True)
        self._etcd = etcd
        self._random = random.Random(f"driver {seed}")
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._ends: dict[int, Run] = {}  # by stdout
        self._orders: list[Callable[[], None]] = []
        self._awake, self._wake = os.pipe()
        self._on(self._awake, self._obey)
        self._token = 0
        self._taking = True
        self._finished = False
        self._next_check = 0.0
        self._changes: set[tuple[int, str]] = set()
        self._watches: list[Watch] = []

    def do(self, order: Callable[[], None]) -> None:
        """Have the thread run `order` soon."""
        self._orders.append(order)
        os.write(self._wake, b"x")

    @property
    def seen(self) -> int:
        """The last v3 revision that the watches have reported."""
        return self._seen[False]

    def holders(self) -> list[Run]:
        return [node.holder for node in self.nodes if node.holder]

    def stop_taking(self) -> None:
        """Start no more helpers, and ask the running ones to end."""

        def order() -> None:
            self._taking = False

        self.do(order)

    def busy(self) -> bool:
        return any(node.runs or node.starting for node in self.nodes)

    def finish(self) -> None:
        def order() -> None:
            self._finished = True

        self.do(order)
        self.join(10)
        for watch in self._watches:
            watch.close()

    def boot(self, node: FakeNode) -> None:
        """Start the node's ctdbd. Only this thread may call it."""
        if node.channel:
            self._bury(node)
        node.boot()
        assert node.channel
        self._on(node.channel.fileno(), lambda: self._hear(node))

    def run(self) -> None:
        try:
            stores = (False, True) if self._etcd.v2 else (False,)
            self._watches = [Watch(member, v2, 1) for member in self._etcd.members for v2 in stores]
            for watch in self._watches:
                self._on(watch.fd, lambda watch=watch: self._follow(watch))  # type: ignore
            for node in self.nodes:
                self.boot(node)
            last = time.monotonic()
            while not self._finished:
                ready = {fd for fd, _ in self._poll.poll(20)}
                now = time.monotonic()
                self.record.largest_gap = max(self.record.largest_gap, now - last)
                last = now
                handlers = {fd: self._handlers[fd] for fd in ready & set(self._handlers)}
                # Ends of output come first, also those that have just arrived, so later events are recorded after them.
                self._read_ends(ready & set(self._ends), now)
                if ready:
                    self._read_ends({fd for fd, _ in self._poll.poll(0)} & set(self._ends), now, only_ends=True)
                for fd, handler in handlers.items():
                    if self._handlers.get(fd) is handler:  # else the descriptor may have been reused
                        handler()
                self._time_goes_by(time.monotonic())
        except BaseException as error:
            self.error = error

    def _on(self, fd: int, handler: Callable[[], None]) -> None:
        self._handlers[fd] = handler
        self._poll.register(fd, select.POLLIN)

    def _off(self, fd: int) -> None:
        self._handlers.pop(fd, None)
        self._poll.unregister(fd)
        os.close(fd)

    def _obey(self) -> None:
        os.read(self._awake, 512)
        while self._orders:
            self._orders.pop(0)()

    def _start(self, node: FakeNode, why: str) -> None:
        assert node.channel
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        log = os.open(node.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._token += 1
        name = "ctdb_recoverd" if why == "take" else "ctdbd"
        message = {"token": self._token, "name": name, "argv": node.argv, "env": node.env}
        node.starting[self._token] = why, time.monotonic(), ours
        try:
            stderr = node.stderr or log
            socket.send_fds(node.channel, [json.dumps(message).encode()], [theirs, stderr], socket.MSG_DONTWAIT)
        except OSError:  # ctdbd is dead, or has been stopped for long
            os.close(node.starting.pop(self._token)[2])
        finally:
            os.close(theirs)
            os.close(log)

    def _hear(self, node: FakeNode) -> None:
        assert node.channel
        try:
            data, fds, _, _ = socket.recv_fds(node.channel, 4096, 1)
        except OSError:
            data, fds = b"", []
        if not data:
            self._bury(node)
            return
        message = json.loads(data)
        if "exited" in message:
            gone = node.runs.get(message["exited"])
            if gone:
                gone.operation.code = message["code"]
                self._gone(node, gone)
            return
        why, started, stdout = node.starting.pop(message["token"])
        operation = Operation(node.name, node.kind, why, message["pid"], started)
        operation.asked += node.under
        if node.stopped_since is not None:
            operation.stops.append([node.stopped_since, None])
        run = Run(operation, stdout, fds[0])
        self.record.operations.append(operation)
        node.runs[operation.pid] = run
        self._ends[stdout] = run
        self._poll.register(stdout, select.POLLIN)
        self._on(fds[0], lambda: self._exited(node, run, fds[0]))

    def _bury(self, node: FakeNode) -> None:
        """Forget a dead ctdbd. Its helpers have another parent now."""
        assert node.channel
        self._handlers.pop(node.channel.fileno(), None)
        self._poll.unregister(node.channel)
        node.channel.close()
        node.channel = None
        for _, _, stdout in node.starting.values():
            os.close(stdout)
        node.starting.clear()
        for run in list(node.runs.values()):
            run.operation.asked.append("parent")
            self._gone(node, run)

    def _exited(self, node: FakeNode, run: Run, pidfd: int) -> None:
        if run.operation.exited is None:
            run.operation.exited = time.monotonic()
            run.forget_pidfd()
            self._off(pidfd)
        self._gone(node, run)

    def _gone(self, node: FakeNode, run: Run) -> None:
        """Forget the run once its output has ended, it has exited, and ctdbd, unless it is dead, has reported that."""
        if run.operation.exited is not None and run.stdout is None:
            if run.operation.code is not None or "parent" in run.operation.asked:
                node.runs.pop(run.operation.pid, None)

    def _read_ends(self, fds: set[int], now: float, only_ends: bool = False) -> None:
        for fd in fds:
            run = self._ends[fd]
            if only_ends and not run.operation.status:
                continue
            data = os.read(fd, 64).decode("latin-1")
            if not data:
                self.close_stdout(run, now)
            elif not run.operation.status:
                self._answered(run, data)
            else:
                run.operation.status += data

    def close_stdout(self, run: Run, now: float) -> None:
        """Record the end of the output, or stop reading it. Only this thread may call it."""
        if run.stdout is not None:
            run.operation.eof = now
            del self._ends[run.stdout]
            self._off(run.stdout)
            run.stdout = None
            node = next(node for node in self.nodes if node.name == run.operation.node)
            if run.operation.status == "0":
                node.next_take = now + self._random.uniform(0, 0.4)
            self._gone(node, run)

    def _answered(self, run: Run, status: str) -> None:
        operation = run.operation
        operation.status, operation.answered = status, time.monotonic()
        run.deadline = float("inf")
        if operation.why == "check" and status == "0":
            run.ask()
        elif status == "0":
            self._next_check = 0.0

    def _follow(self, watch: Watch) -> None:
        changes = watch.read()
        if changes is None:
            # The watch was cancelled, for example by a compaction: continue after the last known revision.
            self._handlers.pop(watch.fd)
            self._poll.unregister(watch.fd)
            watch.close()
            new = Watch(watch.member, watch.v2, self._seen[watch.v2] + 1)
            self._watches[self._watches.index(watch)] = new
            self._on(new.fd, lambda: self._follow(new))
            return
        for revision, key, put, value in changes:
            if (revision, key) not in self._changes:
                self._changes.add((revision, key))
                self._seen[watch.v2] = max(self._seen[watch.v2], revision)
                change = Change(revision, key, put, _pid(value), time.monotonic())
                self.record.changes.append(change)

    def _time_goes_by(self, now: float) -> None:
        for node in self.nodes:
            # Whatever has ended it: the fault "ctdbd killed", or the OOM killer.
            if self._taking and not node.channel and not node.down and "memory" not in node.under:
                self.boot(node)
            for run in list(node.runs.values()):
                if not run.asked and (now > run.deadline or not self._taking):
                    run.ask()
            if self._taking and node.channel and now >= node.next_take:
                node.next_take = now + self._random.uniform(*RETRY)
                if not any(run.operation.why == "take" for run in node.runs.values()) and not node.starting:
                    self._start(node, "take")
        if self._taking and now >= self._next_check:
            self._next_check = now + self._random.uniform(*CHECK_EVERY)
            for node in self.nodes:
                if node.channel and not node.starting and len(node.runs) < 4:
                    self._start(node, "check")


def _pid(value: str) -> int:
    try:
        return int(json.loads(value)["pid"])
    except (ValueError, KeyError, TypeError):
        return 0
