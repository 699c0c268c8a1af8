# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Faults in a storm: nodes contend for the lock, a nemesis breaks things, every event is recorded, a checker judges.

    python3 -m tests.chaos --seconds 60 --seed 1            (`make chaos` does it)

The parts, in the order of the data: `network` and `etcd` build the world inside one namespace, and all of it ends with
that (support.namespace); `nodes` runs helpers as ctdbd does and records operations; `nemesis` draws faults from
`faults_*` by a seed; `record` is what was seen; `checker` judges it, and knows nothing of how it came about; `report`
and `plot` show it. `sabotage` breaks the program on purpose: the checker must find each of them.

The seed decides which faults come, in which order, and for how long. The machine decides the rest, so a seed repeats
the kind of a run and not each moment.

Not covered: the wall clock of an etcd member (test_clock_skew.py measures that one by itself); duplication and
reordering are of whole packets, so TCP hides them from HTTP (test_faults.py holds and repeats whole requests, by
support.proxy); a node's suspend to RAM; disks that fail.
"""
