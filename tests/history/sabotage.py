# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Ways to break the program on purpose, each in one place: the history must find every one of them.

A text that is not found (once) in its file means that the program has moved on: then `apply` fails, and the table is
to be mended.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Sabotage:
    """In `file`, `old` becomes `new`."""

    file: str
    old: str
    new: str

    def apply(self, program: Path) -> None:
        path = program / self.file
        text = path.read_text()
        assert text.count(self.old) == 1, f"{self.old!r} is in {self.file} {text.count(self.old)} times"
        path.write_text(text.replace(self.old, self.new))


SABOTAGES = {
    "no fence": Sabotage(
        "ctdb_etcd/fence.py", "signal.setitimer(signal.ITIMER_REAL, max(self.left(), _AT_ONCE))", "pass"
    ),
    "a negative margin": Sabotage("ctdb_etcd/fence.py", "return min(1.0, ttl / 4)", "return -1.5"),
    "counted from receipt": Sabotage(
        "ctdb_etcd/lock_v3.py",
        "        return Grant(sent, ttl)\n",
        "        return Grant(Moment.now(), ttl)\n",
    ),
    "taken on a stale read": Sabotage("ctdb_etcd/lock_v3.py", '"compare": [empty]', '"compare": []'),
    "the key is never looked at": Sabotage(
        "ctdb_etcd/lock_v3.py",
        'if not any(_number(key, "create_revision") == self._revision for key',
        "if [] and any(0 for key",
    ),
    "a stopped helper goes on": Sabotage(
        "ctdb_etcd/fence.py",
        "signal.signal(signal.SIGALRM, signal.SIG_DFL)",
        "signal.signal(signal.SIGALRM, signal.SIG_IGN)",
    ),
    "contention is an error": Sabotage("ctdb_etcd/helper.py", "status.say(CONTENTION)", "status.say(ERROR)"),
    "nothing is released": Sabotage(
        "ctdb_etcd/lock_v3.py", "        if self._lease:\n            try", "        if 0:\n            try"
    ),
    "never heard of a stop": Sabotage("ctdb_etcd/fence.py", "now.monotonic - self.sent.monotonic", "0"),
}
