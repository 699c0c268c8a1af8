# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Fixtures for tests that run for each kind of lock: in the v3 API, in the v2 API, in both at once.

A test module assigns them to its own names: `kind, etcd, conf = kinds.kind, kinds.etcd, kinds.conf`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from .etcd import Etcd

Kind = tuple[str, str]

# The value of api, and the suffix of the name of the etcd fixture.
KINDS = {"v3": ("auto", ""), "v2": ("2", "_v2"), "both": ("auto", "_v2")}

# Values of api, for tests on one etcd that serves both APIs.
APIS: list[Any] = ["3", pytest.param("2", marks=pytest.mark.v2), "auto"]
# The same for two endpoints, one of them silent. With auto the other one must serve v2, since the silent one might.
APIS_OF_TWO = [*APIS[:2], pytest.param("auto", marks=pytest.mark.v2)]


@pytest.fixture(
    params=[
        pytest.param(KINDS["v3"], id="v3"),
        pytest.param(KINDS["v2"], id="v2", marks=pytest.mark.v2),
        pytest.param(KINDS["both"], id="both", marks=pytest.mark.v2),
    ]
)
def kind(request: pytest.FixtureRequest) -> Kind:
    """The kind of lock: the value of api, and the suffix that selects etcd with default flags or with the v2 API."""
    kind: Kind = request.param
    return kind


@pytest.fixture
def etcd(kind: Kind, request: pytest.FixtureRequest) -> Iterator[Etcd]:
    """One etcd member, healthy at the start of each test."""
    etcd = request.getfixturevalue(f"etcd{kind[1]}_of_session")
    yield etcd
    etcd.heal()


@pytest.fixture
def conf(kind: Kind, helper_conf: Callable[..., Path], etcd: Etcd) -> Callable[..., Path]:
    """`conf(key=value, ...)` writes a configuration file for this kind of lock; `host` defaults to etcd itself."""
    return lambda **keys: helper_conf(**{"api": kind[0], "host": etcd.endpoints[0], **keys})


@pytest.fixture
def keys(etcd: Etcd, lock_name: str) -> Callable[[], list[dict[str, Any]]]:
    """`keys()` returns the keys of the test's lock in both APIs."""
    return lambda: etcd.keys(f"/_locks/_ctdb/{lock_name}/") + etcd.keys_v2(f"/_locks/_ctdb/{lock_name}")
