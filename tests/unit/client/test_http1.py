# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of HTTP/1.1 answers from servers and proxies: an answer is read whole, in whatever pieces, or not at all."""

from __future__ import annotations

import pytest

from ctdb_etcd.client.http1 import Connection, HttpError, Stream
from ctdb_etcd.errors import GrpcOnly, TooLong
from tests.support.fakes import Clock, Waiter

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
TWO = b"Content-Length: 2\r\n\r\n{}"


class Server:
    """A fake stream that returns these pieces and then ends."""

    def __init__(self, *pieces):
        self.pieces, self.sent, self.closed = list(pieces), b"", False

    def send(self, data):
        self.sent += data

    def receive(self):
        return self.pieces.pop(0) if self.pieces else b""

    def close(self):
        self.closed = True


def ask(*pieces):
    return Connection("h:1", Server(*pieces)).ask("POST", "/x", b"{}", {}, 0)


def bytes_of(data):
    return [data[at : at + 1] for at in range(len(data))]


ANSWERS = [
    OK + TWO,
    OK + b"content-LENGTH:2\r\nX:\r\nY: a:b\r\n\r\n{}",
    OK + b"Content-Length: " + b"2".zfill(19) + b"\r\n\r\n{}",
    OK + CHUNKED + b"1\r\n{\r\n01;note=x\r\n}\r\n0\r\n\r\n",
    OK + CHUNKED + b"2\r\n{}\r\n0\r\nTrailer: x\r\n\r\n",
    OK + CHUNKED.replace(b"chunked", b"Chunked") + b"2 ;x\r\n{}\r\n0\r\n\r\n",
    OK + b"\r\n{}",
    b"HTTP/1.0 200 OK\r\n\r\n{}",
    b"HTTP/1.1 200\r\n" + TWO,
    b"HTTP/1.1 199 X\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + TWO,
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_understood_in_one_piece_and_byte_by_byte(answer):
    assert ask(answer) == ask(*bytes_of(answer)) == (200, b"{}")


def test_request_is_sent_whole_with_its_length_and_fields():
    server = Server(OK + b"Date: now\r\n" + TWO)
    connection = Connection("h:1", server)
    connection.ask("POST", "/v3/x", b'{"a":1}', {"Authorization": "t"}, 0)
    head, _, body = server.sent.partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    assert (first, body) == (b"POST /v3/x HTTP/1.1", b'{"a":1}')
    assert {b"Host: h:1", b"Content-Length: 7", b"Authorization: t"} <= set(fields)
    assert connection.fields["date"] == "now"


def test_the_next_answer_comes_over_the_same_connection():
    server = Server(OK + TWO, b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx")
    connection = Connection("h:1", server)
    assert connection.ask("GET", "/", None, {}, 0) == (200, b"{}")
    assert connection.ask("GET", "/", None, {}, 0) == (404, b"x") and b"Content-Length" not in server.sent


def test_header_fields_of_an_answer_do_not_count_for_the_next():
    connection = Connection("h:1", Server(OK + CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", OK + TWO))
    for _ in range(2):
        assert connection.ask("GET", "/", None, {}, 0) == (200, b"{}")


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Connection: close\r\n" + TWO,
        OK + b"Connection: Close\r\n" + TWO,
        OK + b"\r\n{}",
        OK + TWO + b"x",
        b"HTTP/1.0 200 OK\r\n" + TWO,
        # An unrequested answer must not be used for the next request.
        OK + TWO + OK + TWO,
        OK + TWO + b"\r\n",
    ],
)
def test_connection_that_ends_or_holds_more_is_not_used_again(answer):
    server = Server(answer)
    connection = Connection("h:1", server)
    assert connection.ask("GET", "/", None, {}, 0) == (200, b"{}")
    server.pieces.append(OK + TWO)
    with pytest.raises(ConnectionResetError):
        connection.ask("GET", "/", None, {}, 0)


def test_a_connection_that_failed_once_is_not_used_again():
    connection = Connection("h:1", Server(OK + b"Content-Length: x\r\n\r\n", OK + TWO))
    with pytest.raises(HttpError):
        connection.ask("GET", "/", None, {}, 0)
    with pytest.raises(ConnectionResetError):
        connection.ask("GET", "/", None, {}, 0)


def test_end_before_the_first_byte_differs_from_end_within_an_answer():
    with pytest.raises(ConnectionResetError):
        ask()
    for answer in ANSWERS[0], ANSWERS[2]:
        for length in range(1, len(answer)):
            with pytest.raises(HttpError):
                ask(answer[:length])


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: +2\r\n\r\n{}",
        OK + b"Content-Length: 2, 2\r\n\r\n{}",
        OK + b"Content-Length: " + b"2".zfill(20) + b"\r\n\r\n{}",
        OK + b"Content-Length: \xb2\r\n\r\n{}",
        OK + CHUNKED + b"-1\r\n",
        OK + CHUNKED + b"1\r\n{}\r\n0\r\n\r\n",
        OK + b"x: " + b"y" * 70000,
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"HTTP/1.1 -20 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1x",
        b"HTTP/2 200 OK\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"SSH-",
        b"\0\1",
        b"\1\0",
        b"\0\0\6\1\0",
        b"\0\0\6\4\1",
        b"\r\n\r\n",
    ],
)
def test_malformed_answer_is_refused_without_reading_further(answer):
    server = Server(answer, b"never asked for")
    with pytest.raises(HttpError):
        Connection("h:1", server).ask("GET", "/", None, {}, 0)
    assert server.pieces


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_answer_without_a_body_leaves_the_connection_usable(status):
    server = Server(b"HTTP/1.1 " + status + b"\r\n\r\n", OK + TWO)
    connection = Connection("h:1", server)
    assert connection.ask("GET", "/", None, {}, 0) == (int(status[:3]), b"")
    assert connection.ask("GET", "/", None, {}, 0) == (200, b"{}")


@pytest.mark.parametrize("length", [0, 6, 36, 255])
def test_settings_of_http2_are_a_port_for_grpc_only(length):
    settings = b"\0\0" + bytes([length]) + b"\4\0\0\0\0\0" + bytes(length)
    for pieces in [settings], bytes_of(settings):
        with pytest.raises(GrpcOnly, match="listen-client-http-urls"):
            ask(*pieces)


@pytest.mark.parametrize("other", [b"\0", b"\0\0\6\4", b"\0\1\6\4\0", b"\0\0\6\1\0", b"\0\0\6\4\1", b"\1\0\6\4\0"])
def test_bytes_that_are_no_http2_settings_do_not_mean_grpc_only(other):
    with pytest.raises(HttpError):
        ask(other)


ENDLESS = {
    "body": (OK + b"\r\n", b"x" * 65536),
    "chunks": (OK + CHUNKED, (b"100\r\n" + b"x" * 256 + b"\r\n") * 250),
    "trailer": (OK + CHUNKED + b"0\r\n", (b"a: " + b"b" * 256 + b"\r\n") * 250),
    "interim answers": (b"", (b"HTTP/1.1 100 Continue\r\na: " + b"b" * 256 + b"\r\n\r\n") * 250),
    "head": (OK, b"a: b\r\n" * 10000),
    "line": (OK + CHUNKED, b"0" * 65536),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_answer_without_an_end_is_refused_in_time(kind):
    first, more = ENDLESS[kind]
    server = Server(*filter(None, [first]), *[more] * 300)
    with pytest.raises(HttpError if kind == "head" else TooLong):
        Connection("h:1", server).ask("GET", "/", None, {}, 0)
    assert len(server.pieces) > 20


def test_answer_with_the_longest_key_is_read_and_twice_that_is_refused():
    longest = 9 << 20  # 1.5 MiB, each byte escaped as \\u0001
    assert len(ask(OK + b"Content-Length: %d\r\n\r\n" % longest, b"x" * longest)[1]) == longest
    with pytest.raises(TooLong):
        ask(OK + b"Content-Length: %d\r\n\r\n" % (2 * longest), b"x" * 2 * longest)


@pytest.mark.parametrize("announced", [OK + b"Content-Length: 99999999\r\n\r\n", OK + CHUNKED + b"fffffff\r\n"])
def test_answer_announced_as_too_long_is_refused_without_reading_it(announced):
    server = Server(announced, b"never asked for")
    with pytest.raises(TooLong):
        Connection("h:1", server).ask("GET", "/", None, {}, 0)
    assert server.pieces


class Socket:
    """A fake socket that is always ready but never has data, as a TLS socket can be."""

    def __init__(self):
        self.asked = 0

    def fileno(self):
        return 7

    def recv(self, size):
        self.asked += 1
        if self.asked > 1000:
            pytest.fail("a loop without an end")
        raise BlockingIOError


def test_stream_at_its_deadline_waits_for_nothing(monkeypatch):
    clock = Clock(monkeypatch)
    waiter = Waiter(clock)
    stream = Stream(Socket(), waiter)
    stream.deadline = clock.now
    with pytest.raises(TimeoutError):
        stream.wait(0)
    assert not waiter.waits


def test_socket_ready_without_data_is_read_until_the_deadline(monkeypatch):
    clock = Clock(monkeypatch)

    class Ready(Waiter):
        def wait(self, events, deadline):
            clock.pass_(0.1)
            return set(events)

    stream = Stream(Socket(), Ready(clock))
    stream.deadline = clock.now + 2
    with pytest.raises(TimeoutError):
        stream.receive()
    assert clock.now == pytest.approx(stream.deadline, abs=0.2)
