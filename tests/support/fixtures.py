# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The fixtures of the tests: `pytest_plugins = ["tests.support.fixtures"]` in conftest.py.

One etcd member runs for the whole test run.  Tests may kill or pause it: after each test that uses it, it is resumed or
restarted.  Tests do not share locks: each has its own lock name.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from . import release
from .etcd import Etcd

HelperConf = Callable[..., Path]

NONCE_FILES = Path("/run/ctdb")
# What the locks' names of this run begin with; workers have their controller's.
_RUN = os.environ.setdefault("CTDB_ETCD_TESTS", "T" + secrets.token_hex(2).upper())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if its tests leave files where helpers on this machine prove that they ran."""
    if hasattr(session.config, "workerinput"):
        return  # others may still be at it
    with contextlib.suppress(OSError):
        NONCE_FILES.rmdir()  # unless it is a real CTDB's, or another run's
    if _left_files() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for path in _left_files():
        terminalreporter.write_line(f"FAILED: a test has left {path}", red=True)


def _left_files() -> list[Path]:
    return sorted(NONCE_FILES.glob(f"ctdb_etcd_lock.{_RUN}*"))


@pytest.fixture(scope="session")
def etcd_of_session() -> Iterator[Etcd]:
    """One etcd member for the whole run; for fixtures with a wider scope than one test."""
    with Etcd(1) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def etcd_v2_of_session() -> Iterator[Etcd]:
    """Like etcd_of_session, with the v2 API."""
    with Etcd(1, release.v2_flags()) as cluster:
        yield cluster


@pytest.fixture
def etcd_v2(etcd_v2_of_session: Etcd) -> Iterator[Etcd]:
    """Like etcd, with the v2 API."""
    yield etcd_v2_of_session
    etcd_v2_of_session.heal()


@pytest.fixture
def etcd(etcd_of_session: Etcd) -> Iterator[Etcd]:
    """One etcd member, shared by the tests and healthy at the start of each."""
    yield etcd_of_session
    etcd_of_session.heal()


@pytest.fixture
def etcd3() -> Iterator[Etcd]:
    """Three etcd members for one test; running for the whole session they would use more CPU than each start does."""
    with Etcd(3) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def built_etcd() -> Callable[[str], str]:
    """`built_etcd("3.6.11")`, or "3.6" for the newest listed, returns the path of that etcd or skips the test."""

    def path(version: str) -> str:
        version = version if version.count(".") == 2 else release.newest(version)
        if not release.built(version).exists():
            pytest.skip(f"etcd {version} is not built: run tests/releases/build-etcd {version}")
        return str(release.built(version))

    return path


@pytest.fixture
def lock_name(nonce_file_of: Callable[[str], Path]) -> Iterator[str]:
    """A netbios name that no other test has; the nonce file that a killed helper leaves is removed at the end."""
    name = _RUN + secrets.token_hex(4).upper()
    yield name
    nonce_file_of(name).unlink(missing_ok=True)


@pytest.fixture
def keys(etcd: Etcd, lock_name: str) -> Callable[[], list[dict[str, Any]]]:
    """A function that returns the keys in the lock's directory of the v3 API."""
    return lambda: etcd.keys(f"/_locks/_ctdb/{lock_name}/")


@pytest.fixture(scope="session")
def nonce_file_of() -> Callable[[str], Path]:
    """`nonce_file_of(name)` is the path of the file that proves that a lock's holder ran on this machine."""
    return lambda name: NONCE_FILES / f"ctdb_etcd_lock.{name}"


@pytest.fixture
def nonce_file(nonce_file_of: Callable[[str], Path], lock_name: str) -> Path:
    """The nonce file of the test's lock."""
    return nonce_file_of(lock_name)


@pytest.fixture
def elected() -> Iterator[None]:
    """Name this process ctdb_recoverd, as CTDB's recovery daemon, which runs helpers to become the leader."""
    comm = Path("/proc/self/comm")
    before = comm.read_text().rstrip("\n")
    comm.write_text("ctdb_recoverd")
    yield
    comm.write_text(before)


@pytest.fixture
def helper_conf(
    request: pytest.FixtureRequest, tmp_path: Path, lock_name: str, nonce_file_of: Callable[[str], Path]
) -> Iterator[HelperConf]:
    """`helper_conf(key=value, ...)` writes a new configuration file and returns its path.

    By default `host` and `port` are those of `etcd` (started only then), `netbios_name` is `lock_name`, and
    `acquire_timeout` is long enough for a busy machine.  A value may be a list.  None omits a key.  Everything else is
    written unchanged.
    """
    numbers = itertools.count(1)
    names: set[str] = set()

    def write(**keys: Any) -> Path:
        if "host" not in keys:
            host, port = request.getfixturevalue("etcd").endpoints[0].split(":")
            keys = {"host": host, "port": port, **keys}
        keys = {"netbios_name": lock_name, "acquire_timeout": 20, **keys}
        names.add(str(keys["netbios_name"]).upper())  # as the helper does
        path = tmp_path / f"ctdb_etcd_lock.{next(numbers)}.conf"
        path.write_text("".join(f"{key} = {text(value)}\n" for key, value in keys.items() if value is not None))
        return path

    def text(value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

    yield write
    for name in names:
        with contextlib.suppress(OSError, ValueError):
            nonce_file_of(name).unlink()
