# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""A server that sends whatever Hypothesis draws to whoever connects."""

from __future__ import annotations

import socket
import threading
import time

from .fuzz import st

CHUNKS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK\r\n",
                b"HTTP/1.1 404 Not Found\r\n",
                b"HTTP/1.1 100 Continue\r\n\r\n",
                b"HTTP/1.1 999999999999999999999 x\r\n",
                b"Content-Length: 9999999999\r\n",
                b"Content-Length: -1\r\n",
                b"Content-Length: 2\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"\r\n",
                b"{}",
                b"-1\r\n",
                b"ffffffffffffffffffffff\r\n",
                b'{"kvs":[{"value":"%s"}]}' % (b"A" * 100000),
                b"x: " + b"y" * 70000,
                b"a: b\r\n" * 200,
            ]
        ),
    ),
    max_size=7,
)


class Server:
    """A server that sends the chunks to each client, 2 ms apart, and then closes (`rude`: after 2 s of silence)."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.rude = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client, list(self.chunks), self.rude), daemon=True).start()

    def _answer(self, client: socket.socket, chunks: list[bytes], rude: bool) -> None:
        with client:
            client.settimeout(2)
            try:
                client.recv(65536)
                for chunk in chunks:
                    client.sendall(chunk)
                    time.sleep(0.002)
                if rude:
                    time.sleep(2)
            except OSError:
                pass

    def close(self) -> None:
        """Stop accepting clients; an answer in progress is still sent."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
