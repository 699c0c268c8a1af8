# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of an answer without an end (etcd's watch): its first chunk, and how more data or the end is noticed."""

from __future__ import annotations

import socket

import pytest

from ctdb_etcd.client.http1 import Connection, HttpError, Stream
from tests.support.fakes import Clock, Waiter

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def pair(monkeypatch):
    """Yield a connection over a real socket, the server's end of it, and a deadline."""
    clock = Clock(monkeypatch)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5)
    with ours, theirs:
        yield Connection("h:1", Stream(ours, Waiter(clock))), theirs, clock.now + 5


def follow(connection, deadline):
    return connection.follow("/v3/watch", b"{}", {"X": "y"}, deadline)


@pytest.mark.parametrize("size", [b"12", b"12;x=y", b"12 ", b"12 ;x"])
@pytest.mark.parametrize("name", [b"chunked", b"Chunked"])
def test_first_chunk_is_returned_and_nothing_is_left(pair, size, name):
    connection, theirs, deadline = pair
    theirs.sendall(CHUNKED.replace(b"chunked", name) + size + b"\r\n" + b"x" * 18 + b"\r\n")
    assert follow(connection, deadline) == (200, b"x" * 18)
    assert not connection.has_more() and connection.fileno() >= 0
    request = theirs.recv(999)
    assert request.startswith(b"POST /v3/watch HTTP/1.1\r\n")
    assert request.endswith(b"X: y\r\nContent-Length: 2\r\n\r\n{}")


@pytest.mark.parametrize("when", ["with the first", "later", "end"])
def test_more_of_the_answer_or_its_end_is_noticed(pair, when):
    connection, theirs, deadline = pair
    more = b"1\r\ny\r\n"
    theirs.sendall(CHUNKED + b"1\r\nx\r\n" + (more if when == "with the first" else b""))
    follow(connection, deadline)
    if when == "later":
        theirs.sendall(more)
    if when == "end":
        theirs.close()
    assert connection.has_more() is True


def test_an_answer_of_a_known_length_is_returned_whole(pair):
    connection, theirs, deadline = pair
    theirs.sendall(b"HTTP/1.1 403 X\r\nContent-Length: 2\r\n\r\n{}")
    assert follow(connection, deadline) == (403, b"{}") and not connection.has_more()


def test_an_answer_until_the_end_of_the_stream_leaves_its_end(pair):
    connection, theirs, deadline = pair
    theirs.sendall(b"HTTP/1.1 200 X\r\n\r\n{}")
    theirs.shutdown(socket.SHUT_WR)
    assert follow(connection, deadline) == (200, b"{}") and connection.has_more() is True


def test_end_that_was_read_already_is_noticed():
    class Ended:  # TLS can end before its socket does
        def send(self, data):
            pass

        def receive(self):
            return pieces.pop(0)

        def fileno(self):
            return listener.fileno()

    pieces = [b"HTTP/1.1 200 X\r\n\r\n{}", b""]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        connection = Connection("h:1", Ended())
        connection.follow("/", b"", {}, 0)
        assert connection.has_more() is True


@pytest.mark.parametrize("size", [b"x", b"-1", b"+1", b"1_0", b""])
def test_first_chunk_of_no_length_is_an_error(pair, size):
    connection, theirs, deadline = pair
    theirs.sendall(CHUNKED + size + b"\r\nx\r\n")
    with pytest.raises(HttpError, match="no number"):
        follow(connection, deadline)


def test_closed_connection_takes_no_other_request(pair):
    connection, theirs, deadline = pair
    connection.close()
    with pytest.raises(ConnectionResetError):
        follow(connection, deadline)
    assert theirs.recv(9) == b""
