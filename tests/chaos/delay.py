# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Delays packets as netem does, for kernels without netem.

    python3 -m tests.chaos.delay     (prints "ready", then works until it is killed)

The kernel reports the packets of iptables' NFQUEUE targets (only their numbers) and waits for the verdict, which this
process sends late. Where a queue's two numbers differ, each packet gets its own delay between them, so packets overtake
each other. Speaks nfnetlink directly: linux/netfilter/nfnetlink_queue.h.
"""

from __future__ import annotations

import heapq
import random
import select
import socket
import struct
import time

# Minimum and maximum delay in seconds of queue 1, 2, ...
QUEUES = [(0.05, 0.05), (0.2, 0.2), (0.5, 0.5), (1.0, 1.0), (1.5, 1.5), (2.0, 2.0), (4.0, 4.0), (0.0, 0.1), (0.0, 0.6)]
REORDERING = (8, 9)

_NETLINK_NETFILTER = 12
_PACKET, _VERDICT, _CONFIG = 0x300, 0x301, 0x302
_CFG_CMD, _CFG_PARAMS, _CFG_LENGTH = 1, 2, 3
_PACKET_HEADER, _VERDICT_HEADER = 1, 2
_BIND, _COPY_META, _ACCEPT = 1, 1, 1


def _attribute(kind: int, data: bytes) -> bytes:
    size = 4 + len(data)
    return struct.pack("=HH", size, kind) + data + bytes(-size % 4)


def _message(kind: int, queue: int, attributes: bytes) -> bytes:
    body = struct.pack(">BBH", socket.AF_UNSPEC, 0, queue) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, 1, 0, 0) + body


def _bind(netlink: socket.socket, queue: int) -> None:
    netlink.send(_message(_CONFIG, queue, _attribute(_CFG_CMD, struct.pack(">BBH", _BIND, 0, socket.AF_INET))))
    netlink.send(_message(_CONFIG, queue, _attribute(_CFG_PARAMS, struct.pack(">IB", 0, _COPY_META))))
    netlink.send(_message(_CONFIG, queue, _attribute(_CFG_LENGTH, struct.pack(">I", 20000))))


def _packets(data: bytes) -> list[tuple[int, int]]:
    """Return the queue and the packet number of each packet in the kernel's message."""
    found = []
    while len(data) >= 20:
        size, kind = struct.unpack_from("=IH", data)
        (queue,) = struct.unpack_from(">H", data, 18)
        at = 20
        while kind == _PACKET and at + 8 <= size:
            length, attribute = struct.unpack_from("=HH", data, at)
            if attribute == _PACKET_HEADER:
                found.append((queue, struct.unpack_from(">I", data, at + 4)[0]))
                break
            at += length + -length % 4
        data = data[size + -size % 4 :]
    return found


def main() -> None:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    netlink.bind((0, 0))
    for queue in range(1, len(QUEUES) + 1):
        _bind(netlink, queue)
    print("ready", flush=True)
    held: list[tuple[float, int, int]] = []
    while True:
        pause = max(0.0, held[0][0] - time.monotonic()) if held else None
        if select.select([netlink], [], [], pause)[0]:
            try:
                data = netlink.recv(1 << 18)
            except OSError:
                continue  # the receive buffer overflowed: those packets are lost
            for queue, number in _packets(data):
                heapq.heappush(held, (time.monotonic() + random.uniform(*QUEUES[queue - 1]), queue, number))
        while held and held[0][0] <= time.monotonic():
            _, queue, number = heapq.heappop(held)
            netlink.send(_message(_VERDICT, queue, _attribute(_VERDICT_HEADER, struct.pack(">II", _ACCEPT, number))))


if __name__ == "__main__":
    main()
