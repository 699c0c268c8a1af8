# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of .ci/install-deps on a system with dnf. Stand-ins replace dnf and rpm, which are not available here."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.support import TREE

NEEDED = ("sh", "mktemp", "cat", "rm")


@pytest.fixture
def system(tmp_path):
    """Return a directory of programs that is the whole PATH. Its file `installed` lists the installed packages."""

    def program(name, script):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    for name in NEEDED:
        os.symlink(shutil.which(name), tmp_path / name)
    for name in ("etcd", "etcdctl"):
        program(name, "")
    (tmp_path / "installed").write_text("")
    # Called as: rpm -q --qf FORMAT NAME...
    program("rpm", f"""shift 3; for name; do
        while read -r here; do [ "$here" = "$name" ] && printf '%s:installed ' "$name"; done <{tmp_path}/installed
        done""")
    program("dnf", f'echo "$*" >>{tmp_path}/asked; echo "dnf speaks"; [ ! -e {tmp_path}/broken ]')
    # No unit is running or enabled.
    program("systemctl", 'case "$*" in *is-*) exit 1 ;; esac')
    program("id", "echo 0")
    return tmp_path


def run(system, purpose):
    done = subprocess.run(
        [f"{TREE}/.ci/install-deps", purpose], env={"PATH": str(system)}, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def asked(system):
    return (system / "asked").read_text().split() if (system / "asked").exists() else []


@pytest.mark.parametrize("purpose", ["demo", "unit", "lint", "model", "check", "packaging", "try-rpm", "vm"])
def test_dnf_installs_missing_packages_once(system, purpose):
    status, out, err = run(system, purpose)
    options, names = asked(system)[:3], asked(system)[3:]
    assert (status, err, options) == (0, "", ["-y", "--setopt=install_weak_deps=False", "install"])
    assert out == f"install-deps: installing for make {purpose}: {' '.join(names)}\n"
    assert "make" in names

    (system / "installed").write_text("".join(f"{name}\n" for name in names))
    assert run(system, purpose) == (0, "", "")


def test_failure_of_dnf_is_shown(system):
    (system / "broken").touch()
    status, _, err = run(system, "unit")
    assert (status, err.splitlines()[0]) == (1, "dnf speaks")
    assert err.splitlines()[1].startswith("install-deps: could not install: make python3-configobj ")


@pytest.mark.parametrize("program", ["etcd", "etcdctl"])
def test_missing_etcd_is_named_before_anything_is_installed(system, program):
    (system / program).unlink()
    status, _, err = run(system, "check")
    assert (status, asked(system)) == (1, [])
    assert err.startswith(f"install-deps: no {program} here, and Fedora and RHEL have no package of it")
