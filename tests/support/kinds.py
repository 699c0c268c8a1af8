# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Fixtures for tests that apply to each way of keeping the lock: in the v3 API, in the v2 API, in both at once.

A module that wants them gives them its own names: `kind, etcd, conf = kinds.kind, kinds.etcd, kinds.conf`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from . import release
from .etcd import Etcd

Kind = tuple[str, str]

# api, and what is added to the names of the fixtures of etcd
KINDS = {"v3": ("auto", ""), "v2": ("2", "_v2"), "both": ("auto", "_v2")}

# Values of api, for tests on one etcd that serves both APIs.
APIS: list[Any] = ["3", pytest.param("2", marks=pytest.mark.v2), "auto"]
# The same for one of two endpoints that gives no answer: it may be where v2 is served, unless the other one serves it.
APIS_OF_TWO = [*APIS[:2], pytest.param("auto", marks=pytest.mark.v2)]


@pytest.fixture(
    params=[
        pytest.param(KINDS["v3"], id="v3"),
        pytest.param(KINDS["v2"], id="v2", marks=pytest.mark.v2),
        pytest.param(KINDS["both"], id="both", marks=pytest.mark.v2),
    ]
)
def kind(request: pytest.FixtureRequest) -> Kind:
    """What the lock is kept in, and an etcd for it: at its default flags, or with the v2 API."""
    kind: Kind = request.param
    return kind


@pytest.fixture
def etcd(kind: Kind, request: pytest.FixtureRequest) -> Iterator[Etcd]:
    """One member, healthy at the start of each test."""
    etcd = request.getfixturevalue(f"etcd{kind[1]}_of_session")
    yield etcd
    etcd.heal()


@pytest.fixture
def etcd3(kind: Kind) -> Iterator[Etcd]:
    """Three members for one test."""
    with Etcd(3, release.v2_flags() if kind[1] else []) as etcd:
        yield etcd


@pytest.fixture
def conf(kind: Kind, helper_conf: Callable[..., Path], etcd: Etcd) -> Callable[..., Path]:
    """Write a file for this kind of lock; straight to etcd unless host says otherwise."""
    return lambda **keys: helper_conf(**{"api": kind[0], "host": etcd.endpoints[0], **keys})


@pytest.fixture
def keys(etcd: Etcd, lock_name: str) -> Callable[[], list[dict[str, Any]]]:
    """The keys of the test's lock in both APIs."""
    return lambda: etcd.keys(f"/_locks/_ctdb/{lock_name}/") + etcd.keys_v2(f"/_locks/_ctdb/{lock_name}")
