# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Judges a record. Each rule is a function that yields its violations.

An operation *holds* from its `0` to the end of its output, as ctdbd sees it, except

- while it is stopped: once the kernel reports the stop, the process does nothing and can report nothing to CTDB. Once
  continued, it counts as holding again, unless its own timer (or a SIGKILL) ended it at that moment: a process killed
  by SIGALRM runs no further instruction;
- after the nemesis itself has removed its key. No program can prevent that; the holder must notice it within its lease.

Listed apart, too, is what follows where a member of etcd that was stopped goes on: as a former leader it may revoke a
lease that was renewed elsewhere (docs/DESIGN.md, "What is not promised"). The holder must notice that within a second.

Samba's helper is known to break the promise: an overlap that involves it is listed separately and fails no run.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from signal import SIGALRM, SIGKILL
from typing import Callable, Iterator, Optional

from .record import SAMBA, Change, Operation, Record, Removal

FOREVER = float("inf")
ENDED_BY_KERNEL = (-SIGALRM, -SIGKILL)
# s that the kernel may take, on a busy machine, to deliver what became due during the stop.
GONE_AFTER_CONTINUING = 2.0
# The same while a fault takes the processor: 3.5 were seen.
GONE_WHEN_STARVED = 5.0
FORMER_LEADER = 1.0  # s after a stop of a member of etcd in which it may revoke leases, and for a holder to notice
LIVENESS = 6.0  # s that a takeover may take, in addition to a lease

Span = tuple[float, float]

# An overloaded machine breaks this rule, whatever the program does.
SOMEBODY_HOLDS = "somebody holds"


@dataclass
class Violation:
    """A broken rule: which one, when and how. `apart`: it is reported, but this program did not cause it."""

    rule: str
    moment: float
    text: str
    apart: bool = False


class Run:
    """A record, with the lookups that several rules share."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.operations = sorted(record.operations, key=lambda o: o.started)
        self.holders = sorted((o for o in self.operations if o.status[:1] == "0"), key=lambda o: o.answered or 0)
        self.ours = [o for o in self.operations if o.kind != SAMBA]
        changes = sorted(record.changes, key=lambda c: c.revision)
        # A key may come back and then be removed again: these are the first and the last removal of each key.
        self.removed = {c.key: c for c in reversed(changes) if not c.put}
        self.removed_last = {c.key: c for c in changes if not c.put}
        self.puts = [(change, self._writer(change)) for change in changes if change.put]
        self._puts_by: dict[int, list[Change]] = {}  # by the operation's id()
        for change, writer in self.puts:
            self._puts_by.setdefault(id(writer), []).append(change)

    def puts_by(self, operation: Operation) -> list[Change]:
        """Return the keys that the operation created."""
        return self._puts_by.get(id(operation), [])

    def _writer(self, change: Change) -> Optional[Operation]:
        lives = [o for o in self.ours if o.pid == change.pid and o.started <= change.seen]
        return lives[-1] if lives else None

    def key_of(self, operation: Operation, v2: bool) -> Optional[Change]:
        """Return the key by which the operation held: of the keys that it created, the one that existed longest. (In v2
        it may have to create another key, or create one too many.)"""
        puts = [put for put in self.puts_by(operation) if put.v2 == v2]
        return max(puts, key=self.went) if puts else None

    def went(self, put: Change) -> float:
        """Return when the key was certainly gone; infinity if it was never removed."""
        return self.removed[put.key].seen if put.key in self.removed else FOREVER

    def by_former_leader(self, went: float, end: float) -> bool:
        """Return whether a key that went may have been revoked by a former leader of etcd, and its holder ended soon.

        `went` and `end` are the moments. A member counts that was stopped for more than half a lease: the lease may
        have been so old, by what this member knew.
        """
        stops = [(f.began, f.ended) for f in self.record.faults if f.kind.endswith("member stopped") and f.ended]
        went_on = [ended for began, ended in stops if ended - began > self.record.ttl / 2]
        return 0 <= end - went < FORMER_LEADER and any(0 <= went - moment < FORMER_LEADER for moment in went_on)

    def end(self, operation: Operation) -> float:
        return next((m for m in (operation.eof, operation.exited) if m is not None), self.record.ended)

    def removal(self, operation: Operation) -> Optional[Removal]:
        """Return the removal of the operation's key by the nemesis, if there was one."""
        for put in self.puts_by(operation):
            gone = self.removed.get(put.key)
            for removal in self.record.removals:
                if gone and removal.key == put.key and removal.began <= gone.seen:
                    return removal
        return None

    def _starved(self, operation: Operation, began: float, ended: float) -> bool:
        """Return whether a fault took the processor from the operation's node in this span."""
        hungry = {"node starved of the processor": operation.node, "processor hogged": "all"}
        mine = [f for f in self.record.faults if hungry.get(f.kind) == f.target]
        return any(f.began <= ended and began <= (f.ended or FOREVER) for f in mine)

    def held(self, operation: Operation) -> list[Span]:
        """Return the spans in which the operation held, as defined above."""
        if operation.answered is None or operation.status[:1] != "0":
            return []
        end = self.end(operation)
        spans = [(operation.answered, end)]
        for began, continued in operation.stops:
            until = FOREVER if continued is None else continued
            enough = GONE_WHEN_STARVED if self._starved(operation, until, end) else GONE_AFTER_CONTINUING
            if operation.code in (*ENDED_BY_KERNEL, None) and until <= end <= until + enough:
                until = end
            spans = list(_without(spans, began or 0.0, until))
        removal = self.removal(operation)
        return list(_without(spans, removal.began, FOREVER)) if removal else spans


def _without(spans: list[Span], began: float, ended: float) -> Iterator[Span]:
    for a, b in spans:
        if a < min(b, began):
            yield a, min(b, began)
        if max(a, ended) < b:
            yield max(a, ended), b


def no_two_hold(run: Run) -> Iterator[Violation]:
    """No two operations hold at the same time: the promise."""
    held = [(span, o) for o in run.holders for span in run.held(o)]
    for (a, one), (b, other) in combinations(held, 2):
        begin, end = max(a[0], b[0]), min(a[1], b[1])
        if one is not other and begin < end:
            text = f"{one.name} and {other.name} both held for {end - begin:.4f} s"
            key = run.key_of(one, v2=False)
            apart = SAMBA in (one.kind, other.kind) or key and run.by_former_leader(run.went(key), end)
            yield Violation("no two hold", begin, text, bool(apart))


def gone_before_the_key(run: Run) -> Iterator[Violation]:
    """A holder has ended before etcd drops its key. This rule ensures the promise, whoever takes the lock next."""
    for operation in run.holders:
        removal = run.removal(operation)
        if removal:
            # A request without an answer may take effect late, or never.
            gone = removal.ended if removal.ended < FOREVER else run.removed[removal.key].seen
            late = run.end(operation) - gone - run.record.ttl
            if late > 0 and not any(b is None or b > removal.began for _, b in operation.stops):
                text = f"{operation.name} held {late:.3f} s longer than any lease after its key was removed"
                yield Violation("gone before the key", removal.began, text)
            continue
        for put in filter(None, (run.key_of(operation, v2) for v2 in (False, True))):
            went = run.went(put)
            for _, end in run.held(operation):
                if end > went:
                    text = f"{operation.name} still held {end - went:.3f} s after etcd let {put.key} go"
                    yield Violation("gone before the key", went, text, run.by_former_leader(went, end))


def every_hold_has_its_revision(run: Run) -> Iterator[Violation]:
    """Each `0` has its own key in etcd, and the order of the `0`s is the order of the keys' revisions."""
    for v2 in (False, True) if run.record.v2 else (False,):
        last, last_name = 0, ""
        for operation in run.holders:
            if operation.kind not in (("2", "auto") if v2 else ("v3", "auto")):
                continue
            put = run.key_of(operation, v2)
            moment = operation.answered or 0
            if put is None:
                yield Violation("a key to each hold", moment, f"{operation.name} answered 0, etcd has no key of it")
                continue
            if put.revision < last and not run.removal(operation):
                text = f"{operation.name} (revision {put.revision}) answered 0 after {last_name} (revision {last})"
                yield Violation("a key to each hold", moment, text)
            if put.revision > last:
                last, last_name = put.revision, operation.name


def one_key_at_a_time(run: Run) -> Iterator[Violation]:
    """etcd never has two keys in v3's directory. (In v2, contenders have keys there for a moment.)"""
    there: set[str] = set()
    for change in sorted(run.record.changes, key=lambda c: (c.revision, c.put)):
        if not change.v2:
            (there.add if change.put else there.discard)(change.key)
        if len(there) > 1:
            yield Violation("one key at a time", change.seen, f"revision {change.revision}: {', '.join(sorted(there))}")


def no_key_comes_back(run: Run) -> Iterator[Violation]:
    """A removed key stays removed. A v2 key that is written again would precede its successor's key.

    In v3 a request may be repeated or late as long as its process does not hold: it requires an empty directory.
    """
    gone: set[str] = set()
    for change, writer in sorted(run.puts + [(c, None) for c in run.removed.values()], key=lambda p: p[0].revision):
        if not change.put:
            gone.add(change.key)
        elif change.key in gone and (change.v2 or writer in run.holders and (writer.answered or 0) < change.seen):
            text = f"{change.key} came back in revision {change.revision}"
            yield Violation("no key comes back", change.seen, text, apart=change.pid == 0)


def contention_is_real(run: Run) -> Iterator[Violation]:
    """For each `1`, another operation's key was in the directory at some moment, by the widest reading of the watch."""
    keys = []
    for put, writer in run.puts:
        gone = run.removed_last.get(put.key)
        keys.append((writer.started if writer else put.seen - 30, gone.seen if gone else FOREVER, writer))
    for operation in run.ours:
        if operation.status == "1" and operation.answered is not None:
            a, b = operation.started, operation.answered
            if not any(began <= b and a <= ended and writer is not operation for began, ended, writer in keys):
                text = f"{operation.name} answered 1, and there was nothing in the directory"
                yield Violation("contention is real", b, text)


def answers_are_good(run: Run) -> Iterator[Violation]:
    """An answer is one character, never `3` (all faults are temporary), and missing only if the helper was ended."""
    for operation in run.ours:
        moment = run.end(operation)
        # Without a parent nobody reads the 3.
        if len(operation.status) > 1 or operation.status == "3" and "parent" not in operation.asked:
            yield Violation("good answers", moment, f"{operation.name} answered {operation.status!r}")
        if operation.status or operation.exited is None or operation.asked or operation.code in ENDED_BY_KERNEL:
            continue
        yield Violation("good answers", moment, f"{operation.name} exited with {operation.code} without an answer")


def lines_are_clean(run: Run) -> Iterator[Violation]:
    """CTDB's log has only our helper's lines: no traceback, and no "this is a bug"."""
    samba = {o.node for o in run.operations if o.kind == SAMBA}
    for node, lines in run.record.lines.items():
        for line in lines if node not in samba else []:
            if not line.startswith("ctdb_etcd_lock: ") or "this is a bug" in line:
                yield Violation("clean lines", run.record.ended, f"{node}: {line[:300]}")


def somebody_holds(run: Run) -> Iterator[Violation]:
    """Without faults, some node holds within one lease and 6 s."""
    for quiet in run.record.quiets:
        if quiet.gave_up is not None and quiet.waited >= run.record.ttl + LIVENESS:
            text = f"nobody held for {quiet.gave_up - quiet.began:.1f} s without a fault"
            yield Violation(SOMEBODY_HOLDS, quiet.began, text)


def nothing_is_left(run: Run) -> Iterator[Violation]:
    """No key, no lease and no process is left at the end."""
    for thing in run.record.left:
        yield Violation("nothing is left", run.record.ended, thing)


RULES: tuple[Callable[[Run], Iterator[Violation]], ...] = (
    no_two_hold,
    gone_before_the_key,
    every_hold_has_its_revision,
    one_key_at_a_time,
    no_key_comes_back,
    contention_is_real,
    answers_are_good,
    lines_are_clean,
    somebody_holds,
    nothing_is_left,
)


def check(record: Record) -> list[Violation]:
    """Return all violations in a record, sorted by time."""
    run = Run(record)
    return sorted((violation for rule in RULES for violation in rule(run)), key=lambda v: v.moment)


if __name__ == "__main__":
    whole = Record.load(Path(sys.argv[1]))
    for found in check(whole):
        print(f"{found.moment - whole.began:8.3f} {found.rule}: {found.text}{' (apart)' if found.apart else ''}")
