# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Run CTDB's own tests with this lock: the integration tests on local daemons, and the cluster mutex's unit test.

They run in a namespace of their own with an etcd. CTDB's helper for lock files is replaced by this program, which
ignores the lock file. Arguments, paths below CTDB's tests, narrow them. Exit status 0: all passed but those in EXCEPT.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.support import TREE
from tests.support.helper import PROGRAM
from tests.support.namespace import Namespace, NamespaceEtcd

# Left out, and why.
EXCEPT = {
    "cluster.015.reclock_remove_lock": "it removes the lock file",
    "cluster.016.reclock_move_lock_dir": "it moves the lock file's directory",
}
# For any helper. In its last case the next helper must not start before one whose parent is gone has ended. The test
# knows that by a descriptor that its helpers inherit and ours closes, so on a starved machine it may fail.
MUTEX = "UNIT/cunit/cluster_mutex_003.sh"
SECONDS = 1800

CONF = "/run/ctdb_etcd_lock.conf"
WRAPPER = f"""#!/bin/sh
exec {PROGRAM} -v -c {CONF}
"""


def replace(namespace: Namespace, path: Path, text: str) -> None:
    """Give a program other contents; only the namespace sees them."""
    own = namespace.outside(f"/run/{path.name}")
    own.write_text(text)
    own.chmod(0o755)
    namespace.run("mount", "--bind", f"/run/{path.name}", str(path))


def main() -> int:
    ctdb = Path(subprocess.check_output([TREE / "tests/samba/build"], text=True).strip())
    found = sorted((ctdb / "tests/INTEGRATION/simple").glob("*.sh"))
    chosen = [MUTEX, *(f"INTEGRATION/simple/{path.name}" for path in found if path.stem not in EXCEPT)]
    for name, why in EXCEPT.items():
        print(f"left out: {name}: {why}", flush=True)
    namespace = Namespace()
    try:
        etcd = NamespaceEtcd(namespace, 1, [])
        etcd.start()
        namespace.outside(CONF).write_text("netbios_name = SAMBA\n")
        replace(namespace, ctdb / "bin/ctdb_mutex_fcntl_helper", WRAPPER)
        mutex = ctdb / "tests" / MUTEX
        # It expects a line that CTDB's helper logs when its parent is gone.
        replace(namespace, mutex, mutex.read_text().replace("parent gone\n", ""))
        # The tests take bin/ of the directory that they run in.
        command = ["env", "-C", str(ctdb), "tests/run_tests.sh", "-L", "-V", "/run/tests", *(sys.argv[1:] or chosen)]
        # Without -v: the test compares stderr as well.
        env = {"CTDB_TEST_MUTEX_HELPER": f"!{PROGRAM} -c {CONF}"}
        status = namespace.popen("timeout", str(SECONDS), *command, env=env, output=sys.stdout.fileno()).wait()
        writes = json.loads(etcd.ctl("get", "/", "-w", "json"))["header"]["revision"] - 1
        print(f"the lock was written to etcd {writes} times")
        return status or int(not writes)
    finally:
        namespace.close()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
