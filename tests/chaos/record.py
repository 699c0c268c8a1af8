# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What was seen in a run: operations (one helper's life each), faults, and etcd's revisions of the lock's keys.

All moments are seconds of time.monotonic() of one process; a single thread stamps what the helpers and etcd say, and
when several things are ready at one time, ends of output come first, so no overlap is ever invented. One that is
shorter than the thread's own pause (`largest_gap`) may go unseen.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Optional

# How the helpers of a node are made: by this program with one `api` or another, or Samba's own.
SAMBA = "samba"


@dataclass
class Operation:
    """One helper from its start to its exit. `why`: "take" (to become leader) or "check" (in a recovery).

    `asked` is what its end was asked for by ("TERM", "KILL", "parent", "reader", "memory"), in order.
    `stops`: spans in which the process could not run an instruction; an open one ends at None.
    """

    node: str
    kind: str
    why: str
    pid: int
    started: float
    status: str = ""
    answered: Optional[float] = None
    eof: Optional[float] = None
    exited: Optional[float] = None
    code: Optional[int] = None  # exit status, or minus the signal's number; None if its parent was gone
    asked: list[str] = field(default_factory=list)
    stops: list[list[Optional[float]]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.node} {self.why} pid {self.pid}"


@dataclass
class Fault:
    """What the nemesis did: to whom, from when to when (None: it has no duration)."""

    kind: str
    target: str
    began: float
    ended: Optional[float] = None


@dataclass
class Change:
    """A key came to the lock's directory or went: `pid` wrote it (0: nobody known); `seen` is at or after it.

    `revision` is of the key's own store, v3's or, if its name begins with "v2:", v2's.
    """

    revision: int
    key: str
    put: bool
    pid: int
    seen: float

    @property
    def v2(self) -> bool:
        return self.key.startswith("v2:")


@dataclass
class Removal:
    """The nemesis removed a key (deleted it, revoked its lease) between these two moments."""

    key: str
    began: float
    ended: float


@dataclass
class Quiet:
    """A time without faults: when it began, and from when on somebody held (None: nobody, until `gave_up`).

    `waited`: the seconds between, as counted on a machine that nobody else uses."""

    began: float
    waited: float = 0.0
    held: Optional[float] = None
    gave_up: Optional[float] = None


@dataclass
class Record:
    """A whole run. `lines` are the helpers' own lines on stderr, by node; `left` is what the end found left behind."""

    seed: int = 0
    etcd: str = ""  # its version
    v2: bool = True  # whether it served v2
    ttl: int = 0
    began: float = 0.0
    ended: float = 0.0
    operations: list[Operation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)
    quiets: list[Quiet] = field(default_factory=list)
    lines: dict[str, list[str]] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    not_here: list[str] = field(default_factory=list)  # kinds of faults that this machine cannot make
    largest_gap: float = 0.0

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Record:
        values = json.loads(path.read_text())
        kinds = {"operations": Operation, "faults": Fault, "changes": Change, "removals": Removal, "quiets": Quiet}
        for name, kind in kinds.items():
            values[name] = [kind(**value) for value in values[name]]
        return cls(**values)
