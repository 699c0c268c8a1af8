# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the size limits of HTTP/1.1 answers, each from both sides, and of sending and receiving in pieces."""

from __future__ import annotations

import select
import socket

import pytest

from ctdb_etcd.client.http1 import Connection, HttpError, Stream
from ctdb_etcd.errors import TooLong
from tests.support.fakes import Clock, Waiter

OK = b"HTTP/1.1 200 OK\r\n"
BODY, HEAD = 10 << 20, 1 << 16


class Server:
    """A fake stream that returns these pieces and then ends."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def send(self, data):
        pass

    def receive(self):
        return self.pieces.pop(0) if self.pieces else b""


def ask(*pieces):
    return Connection("h:1", Server(*pieces)).ask("POST", "/x", b"{}", {}, 0)


@pytest.mark.parametrize("kind", ["length", "chunks", "end"])
@pytest.mark.parametrize("size, good", [(BODY, True), (BODY + 1, False)])
def test_a_body_may_have_ten_mebibytes(kind, size, good):
    body = b"x" * size
    if kind == "length":
        pieces = [OK + b"Content-Length: %d\r\n\r\n" % size, body]
    elif kind == "chunks":
        first = BODY // 2
        head = OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % first
        pieces = [head, body[:first], b"\r\n%x\r\n" % (size - first), body[first:], b"\r\n0\r\n\r\n"]
    else:
        pieces = [OK + b"\r\n", body]
    if good:
        assert ask(*pieces) == (200, body)
    else:
        with pytest.raises(TooLong):
            ask(*pieces)


@pytest.mark.parametrize("size, good", [(HEAD, True), (HEAD + 1, False)])
def test_header_over_64_kibibytes_is_refused(size, good):
    head = (OK + b"X: ").ljust(size, b"x")
    pieces = [head, b"\r\nContent-Length: 2\r\n\r\n{}"]
    if good:
        assert ask(*pieces) == (200, b"{}")
    else:
        with pytest.raises(HttpError, match="does not speak HTTP"):
            ask(*pieces)


@pytest.mark.parametrize("size, good", [(BODY + HEAD, True), (BODY + HEAD + 1, False)])
def test_answer_longer_than_both_limits_together_is_refused(size, good):
    tail = b"HTTP/1.1 204 No Content\r\n\r\n"
    interim = b"HTTP/1.1 100 Continue\r\nX: " + b"x" * 4000 + b"\r\n\r\n"
    count, rest = divmod(size - len(tail), len(interim))
    # Interim answers fill `size` bytes before the tail. One of them is a little longer.
    filled = interim * (count - 1) + interim.replace(b"Continue", b"Continue" + b"e" * rest) + tail
    assert len(filled) == size
    pieces = [filled[at : at + HEAD] for at in range(0, size, HEAD)]
    if good:
        assert ask(*pieces) == (204, b"")
    else:
        with pytest.raises(TooLong):
            ask(*pieces)


def test_each_answer_over_a_connection_has_its_own_limit():
    size = BODY // 2 + HEAD
    answers = [OK + b"Content-Length: %d\r\n\r\n" % size + b"x" * size] * 2
    connection = Connection("h:1", Server(*answers))
    for _ in answers:
        assert len(connection.ask("GET", "/", None, {}, 0)[1]) == size


def test_stream_sends_everything_if_the_socket_takes_little_at_a_time(monkeypatch):
    sent = []

    class Socket:
        def send(self, data):
            sent.append(bytes(data[:3]))
            return len(sent[-1])

    Stream(Socket(), Waiter(Clock(monkeypatch))).send(b"0123456789")
    assert sent == [b"012", b"345", b"678", b"9"]


def test_stream_receives_nothing_without_a_deadline(monkeypatch):
    clock = Clock(monkeypatch)
    clock.now = 0.5
    with socket.socket() as sock, pytest.raises(TimeoutError):
        Stream(sock, Waiter(clock)).receive()


def test_stream_waits_for_its_socket_until_the_deadline(monkeypatch):
    clock = Clock(monkeypatch)
    waiter, waits = Waiter(clock), []
    waiter.wait = lambda events, deadline: waits.append((events, deadline)) or set(events)
    with socket.socket() as sock:
        stream = Stream(sock, waiter)
        stream.deadline = clock.now + 3
        stream.wait(select.POLLOUT)
        assert waits == [({sock.fileno(): select.POLLOUT}, clock.now + 3)] and stream.fileno() == sock.fileno()


def test_received_bytes_are_returned_before_the_end_of_the_stream(monkeypatch):
    clock = Clock(monkeypatch)
    ours, theirs = socket.socketpair()
    with ours:
        stream = Stream(ours, Waiter(clock))
        stream.deadline = clock.now + 3
        with theirs:
            theirs.sendall(b"abc")
        clock.until(stream.deadline)
        with pytest.raises(TimeoutError):
            stream.receive()
        stream.deadline = clock.now + 3
        assert stream.receive() == b"abc" and stream.receive() == b""
