# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Ways to break the program on purpose, each in one place. A run must find every one of them.

No run can find changes that break no promise: a lock that is never released (its lease ends), and stale reads alone
(v3's transaction or the order of v2's keys decides).

If a text does not occur exactly once in its file, the program has changed: `apply` fails, and so does
tests/unit/chaos/test_sabotage.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Sabotage:
    """Each edit replaces the first text in its file with the second. A run finds it with leases of `ttl` s, `hosts`
    endpoints for each node (0: any number), nodes of that `mix`, and soonest with those `faults`. `stray`: adds an
    endpoint of a separate etcd, which a correct program refuses."""

    edits: list[tuple[str, str, str]]
    ttl: int = 3
    hosts: int = 0
    mix: str = "v3,v3,v3,v3,v3"
    faults: str = ""
    stray: bool = False

    def apply(self, program: Path) -> None:
        for file, old, new in self.edits:
            path = program / file
            text = path.read_text()
            assert text.count(old) == 1, f"{old!r} is in {file} {text.count(old)} times"
            path.write_text(text.replace(old, new))


FENCE, HOLD, HOLDER, ONE_ETCD, TAKEOVER, V3, V3_LEASE, V2 = (
    f"ctdb_etcd/{name}.py"
    for name in "fence ctdb/hold lock/holder lock/one_etcd lock/takeover lock/v3 lock/v3_lease lock/v2".split()
)

SABOTAGES = {
    "no fence": Sabotage(
        [(FENCE, f"signal.setitimer(signal.ITIMER_REAL, {seconds})", "pass") for seconds in ("left", "late")],
        faults="holder stopped",
    ),
    # No fault hits that moment by chance, so the edit adds a pause (libfaketime breaks time.sleep). A correct program
    # checks the clock again.
    "no look at the clock once the timer is set": Sabotage(
        [
            (FENCE, "while self._set() > self.left() + _LATE or self.left() <= 0:\n            pass", "self._set()"),
            (FENCE, "(signal.ITIMER_REAL, left)", "(signal.ITIMER_REAL, [left, signal.sigtimedwait([], 4)][0])"),
        ]
    ),
    "a negative margin": Sabotage([(FENCE, "return self.left() - margin(self.ttl)", "return self.left() + 1.5")]),
    "counted from receipt": Sabotage(
        [(V3_LEASE, "return Grant(sent, ttl), raft_term", "return Grant(now(), ttl), raft_term")],
        # An answer must be later than the margin plus etcd's own delay, but not later than the helper waits for it.
        ttl=15,
        hosts=1,
        faults="answers late",
    ),
    "contention decided by a stale read": Sabotage(
        [
            (V3, '"limit": 1}', '"limit": 1, "serializable": True}'),
            (V3, "self._put(value, [self._all_created(0)], [], deadline)", "self._put(value, [], [], deadline)"),
        ]
    ),
    "etcds of their own are one": Sabotage(
        [(ONE_ETCD, "if len(clusters) > 1:", "if False:"), (ONE_ETCD, "if apart := [", "if apart := [] and [")],
        stray=True,
    ),
    "the key is never looked at": Sabotage(
        [(V3, "return any(key.revision == self._revision for key", "return True or any(0 for key")],
        faults="key deleted",
    ),
    "given back before ctdbd knows": Sabotage([(HOLD, "\n        status.end()\n", "\n")], faults="helper asked to end"),
    "contention is an error": Sabotage([(HOLD, "status.write(CONTENTION)", "status.write(ERROR)")]),
    "the dead replaced without a compare": Sabotage(
        [
            (V3, "self._put(value, [same, alone], [", "self._put(value, [], ["),
            # Two helpers must reach this point at the same time.
            (
                V3,
                "first = self._replace(value, first, deadline)",
                "first = (__import__('select').select([], [], [], 0.5), self._replace(value, first, deadline))[1]",
            ),
        ],
        faults="helper killed",
    ),
    "who is stopped counts as dead": Sabotage([(TAKEOVER, 'state in "ZX"', 'state in "TZX"')], faults="stopped"),
    "a value of others is believed": Sabotage(
        [(HOLDER, "return type(found) in (int, float) and 0 < found <= _SECONDS_MAX", "return True")],
        faults="value overwritten",
    ),
    "v2: renewed by a plain write": Sabotage(
        [(V2, "ttl=self._ttl, **compared)", "ttl=self._ttl)")], mix="2,2,2,2,2"
    ),
}
