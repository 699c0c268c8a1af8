# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Fault injection: nodes contend for the lock, a nemesis injects faults, every event is recorded, a checker judges.

    python3 -m tests.chaos --seconds 60 --seed 1            (`make chaos` runs it)

The parts, in the order of the data: `network` and `etcd` build the environment inside one namespace, and everything
ends with that namespace (support.namespace). `nodes` and `driver` run helpers as ctdbd does and record operations.
`nemesis` draws faults from `faults_*` by a seed. `record` is the record of a run. `checker` judges the record and
knows nothing else. `report` and `plot` show it. `sabotage` breaks the program on purpose: the checker must find each
sabotage.

The seed decides which faults come, in which order, and for how long. The machine decides the rest, so a seed repeats
the kind of a run, not its exact timing.

Not covered: the wall clock of an etcd member (test_clock_skew.py covers it); duplicated and reordered requests (the
faults affect whole packets, so TCP hides them from HTTP; test_faults.py holds and repeats whole requests with
support.proxy); a node's suspend to RAM; failing disks.
"""
