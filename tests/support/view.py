# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Commands of the program under test, run as an operator runs them, until they exit."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any, Sequence, Union

from .helper import PATH, PROGRAM
from .machine import PDEATHSIG


class View:
    """One command's output (`text`, `errors`), exit status (`code`) and duration in `seconds`.

    `conf` None is the default file. `enter` is a command that runs the program in another place or as another user.
    `program` is another copy of the program.
    """

    def __init__(
        self,
        conf: Union[str, Path, None],
        *args: str,
        enter: Sequence[str] = (),
        program: str = PROGRAM,
        timeout: float = 30,
        **env: str,
    ) -> None:
        began = time.monotonic()
        done = subprocess.run(
            [*PDEATHSIG, *enter, program, *(["-c", str(conf)] if conf else []), *args],
            env={"PATH": PATH, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        self.seconds = time.monotonic() - began
        self.code, self.text, self.errors = done.returncode, done.stdout, done.stderr

    @property
    def json(self) -> dict[str, Any]:
        """The object that --json printed."""
        answer = json.loads(self.text)
        assert isinstance(answer, dict)
        return answer

    def levels(self) -> dict[str, str]:
        """Return the worst level of each item of --check --json."""
        order = ("ok", "warning", "fault")
        worst: dict[str, str] = {}
        for item in self.json["items"]:
            worst[item["item"]] = max(worst.get(item["item"], "ok"), item["level"], key=order.index)
        return worst
