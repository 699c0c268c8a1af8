# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of ports and scratch directories: ports are distinct, and a scratch directory is removed."""

from __future__ import annotations

from tests.support.machine import Port, Scratch


def test_ports_are_distinct_and_a_scratch_directory_is_removed() -> None:
    ports = [Port() for _ in range(20)]
    assert len({port.number for port in ports}) == 20
    for port in ports:
        port.close()
    scratch = Scratch()
    (scratch.path / "file").write_text("x")
    scratch.close()
    assert not scratch.path.exists()
