# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The state of the faulty network between a client and etcd: its mode and the traffic so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from .proxy_wire import Connection


@dataclass
class Mode:
    """The treatment of all bytes that are in transit or arrive later."""

    listening: bool = True
    hold_requests: bool = False
    hold_answers: bool = False
    cut_requests: bool = False
    cut_answers: bool = False
    cut_at: Optional[int] = None
    delay: float = 0


@dataclass
class Network:
    """The mode, traps (pattern, whether it stays set), canned answers by pattern, and the traffic so far."""

    target: tuple[str, int]
    mode: Mode = field(default_factory=Mode)
    traps: list[tuple[bytes, bool]] = field(default_factory=list)
    canned: list[tuple[bytes, bytes]] = field(default_factory=list)
    open: dict[Connection, None] = field(default_factory=dict)
    requests: list[tuple[float, str]] = field(default_factory=list)
    connections: int = 0
    bytes_to_etcd: int = 0
    bytes_to_client: int = 0
