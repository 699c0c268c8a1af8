# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The record of a run: operations (each the life of one helper), faults, and etcd's revisions of the lock's keys.

All moments are seconds of time.monotonic() of one process. A single thread records the output of the helpers and of
etcd. When several events are ready at once, ends of output come first, so the record never invents an overlap. An
overlap shorter than the thread's own pause (`largest_gap`) may be missing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Optional

# The kind of Samba's own helper. Every other kind is an `api` of this program.
SAMBA = "samba"


@dataclass
class Operation:
    """One helper from its start to its exit. `why`: "take" (to become leader) or "check" (in a recovery).

    `asked`: the reasons for its end ("TERM", "KILL", "parent", "reader", "memory"), in order.
    `stops`: spans in which the process could not run an instruction; an open span ends with None.
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
    """A fault that the nemesis caused: kind, target, begin and end (None: it has no duration)."""

    kind: str
    target: str
    began: float
    ended: Optional[float] = None


@dataclass
class Change:
    """A key was created in the lock's directory, or removed. `pid` wrote it (0: unknown).

    `seen` is at or after the change. `revision` belongs to the key's own store: v2's if the name begins with "v2:",
    else v3's.
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
    """The nemesis removed a key (deleted it or revoked its lease) between these two moments."""

    key: str
    began: float
    ended: float


@dataclass
class Quiet:
    """A time without faults: when it began, and when somebody held (None: nobody did until `gave_up`).

    `waited`: the seconds between, except those in which the machine was busy with other work."""

    began: float
    waited: float = 0.0
    held: Optional[float] = None
    gave_up: Optional[float] = None


@dataclass
class Record:
    """A whole run. `lines`: the helpers' stderr, by node. `left`: what was left behind at the end."""

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
    not_here: list[str] = field(default_factory=list)  # kinds of faults that this machine cannot cause
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
