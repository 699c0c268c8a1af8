# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Mutants that no test kills, each with the reason: it changes nothing, or nothing that the program promises.

survivors.txt has each reason in lines that begin with "#", and below it the names of its mutants.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict

FILE = Path(__file__).with_name("survivors.txt")


def _read() -> Dict[str, str]:
    listed: Dict[str, str] = {}
    reason = ""
    named = False
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            reason = line[1:].strip() if named else f"{reason} {line[1:].strip()}".strip()
            named = False
        elif line.strip():
            listed[line] = reason
            named = True
        else:
            reason = ""
    return listed


LISTED = _read()
