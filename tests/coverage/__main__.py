# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Run pytest with the given arguments while branches are recorded, and show the branches not taken.

Exit status: that of pytest; the report comes in each case.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings

import coverage
from coverage.exceptions import CoverageWarning

from .record import FOLDER, TREE

HELPER = f"""#!/usr/bin/python3 -I
import sys
sys.path.insert(0, {str(TREE)!r})
from tests.coverage.record import become_helper
become_helper()
"""


def main() -> int:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    helper = FOLDER / "ctdb_etcd_lock"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    env = {**os.environ, "CTDB_ETCD_LOCK": str(helper)}
    argv = [sys.executable, "-m", "pytest", "-p", "tests.coverage.record", *sys.argv[1:]]
    status = subprocess.run(argv, cwd=TREE, env=env).returncode
    # The warnings are about records that a signal has left half-written.
    warnings.simplefilter("ignore", CoverageWarning)
    report = coverage.Coverage(str(FOLDER / "data"), branch=True, config_file=False)
    report.combine()
    report.save()
    report.set_option("report:exclude_lines", ["if TYPE_CHECKING:"])
    report.report(show_missing=True, include=[f"{TREE}/ctdb_etcd/*"])
    return status


if __name__ == "__main__":
    sys.exit(main())
