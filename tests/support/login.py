# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""An etcd with users and passwords, and fixtures for its tests.

A test module assigns the fixtures that it uses to its own names: `conf, guarded = login.conf, login.guarded`.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Optional, Sequence

import pytest

from . import TREE
from .etcd import Etcd
from .helper import Helper
from .member import Tls

SHIPPED = TREE / "etc" / "ctdb_etcd_lock.conf"
# JSON escapes this password, so masking only the plain text would leave it readable.
PASSWORD = 'p"ä\\ss%(w)s$x#1'
QUOTED = f"'{PASSWORD}'"


@contextmanager
def with_login(
    args: Sequence[str] = (), members: int = 1, tls: Optional[Tls] = None, program: Optional[str] = None
) -> Iterator[Etcd]:
    """Run an etcd with auth enabled and the user root (password `root`)."""
    with Etcd(members, args, tls=tls, program=program) as etcd:
        etcd.etcdctl("user", "add", "root:root")
        etcd.etcdctl("user", "grant-role", "root", "root")
        etcd.etcdctl("auth", "enable")
        etcd.user = "root:root"
        yield etcd


@pytest.fixture(scope="module")
def guarded() -> Iterator[Etcd]:
    """One etcd member with auth enabled, shared by the module's tests."""
    with with_login() as etcd:
        yield etcd


def add_user(
    etcd: Etcd, lock_name: str, permission: str = "readwrite", user: Optional[str] = None, password: str = PASSWORD
) -> str:
    """Create a user with the commands in the shipped configuration file's comment; return its name."""
    user = user or f"user-{lock_name}"
    text = SHIPPED.read_text()
    commands = [line[1:].split() for line in text.splitlines() if line.startswith("#   etcdctl ")]
    assert [command[1:3] for command in commands] == [
        ["role", "add"],
        ["role", "grant-permission"],
        ["user", "add"],
        ["user", "grant-role"],
    ]
    for _, *command in commands:
        words = [{"ctdb": user, "readwrite": permission}.get(word, word) for word in command]
        words = [word.replace("/NAME/", f"/{lock_name}/") for word in words]
        if words[:2] == ["user", "add"]:
            words[2] = f"{user}:{password}"
        if permission or words[1] != "grant-permission":
            etcd.etcdctl(*words)
    return user


def change_password(etcd: Etcd, user: str, password: str) -> None:
    """Change a user's password as the administrator."""
    argv, env = etcd._etcdctl("user", "passwd", user, "--interactive=false")
    subprocess.run(argv, env=env, input=f"{password}\n", text=True, check=True, timeout=10, capture_output=True)


@pytest.fixture
def conf(helper_conf: Callable[..., Path]) -> Callable[..., Path]:
    """`conf(etcd, user, key=value, ...)` writes a configuration file with this user and PASSWORD."""

    def write(etcd: Etcd, user: Optional[str], **keys: Any) -> Path:
        keys = {"host": etcd.endpoints, "username": user, "password": QUOTED, **keys}
        path = helper_conf(**keys)
        path.chmod(0o600)
        return path

    return write


def refusal(conf: Path, *args: str) -> str:
    """Run a helper that is refused at once; return the one line that it logs."""
    with Helper(conf, *args) as helper:
        assert helper.status() == "3", helper.describe()
        assert helper.answered_after < 10  # far below acquire_timeout
        helper.wait_exit()
        assert len(helper.stderr.splitlines()) == 1, helper.describe()
        return helper.stderr.strip()
