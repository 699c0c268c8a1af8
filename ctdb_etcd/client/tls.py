# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""TLS: the server is always verified; a failure is one line that names the file to correct.

A server that passes for etcd could give the lock to two nodes, so the check cannot be switched off. A certificate
that does not verify is a fault of its endpoint: another endpoint may be usable.
"""

from __future__ import annotations

import os
import select
import ssl
import time

from ..errors import EndpointRefused, Refused
from .http1 import Stream, begins_http2

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Callable

    from ..config.parse import Config
    from ..log import Log
    from ..waiting import Waiter
    from .http1 import Result

# OpenSSL's verification results (x509_vfy.h) that have a remedy of their own.
_NOT_YET_VALID, _EXPIRED = 9, 10
_WRONG_NAME = (62, 64)
# X509_V_FLAG_PARTIAL_CHAIN, which ssl names from Python 3.10 on.
_PARTIAL_CHAIN = ssl.VerifyFlags(0x80000)

# Seconds in which a server that speaks gRPC only has ended a connection without ALPN.
_CLOSES_WITHIN = 0.5


class Tls:
    """How connections are secured: by the files as they are when the connection is made."""

    def __init__(self, config: Config, log: Log) -> None:
        """Raises Refused, which names the file."""
        self._config = config
        self._log = log
        self._logged = ""
        # First, so that a change of the files while they are read is seen.
        self._stamp = stamp(config)
        self._context = context(config)

    def _read_again(self) -> None:
        """Read files that have changed; if they cannot be used, what was read before stays."""
        now = stamp(self._config)
        if now == self._stamp:
            return
        try:
            self._context, self._stamp = context(self._config), now
            self._logged = ""
            self._log.info("certificates have changed and were read again")
        except Refused as refusal:
            if self._logged != str(refusal):
                self._logged = str(refusal)
                self._log.error(f"going on with the certificates that were read before: {refusal}")

    def stream(self, sock: socket.socket, waiter: Waiter, host: str, until: float) -> TlsStream:
        """Shake hands with this host. Raises OSError: ssl.SSLError for explain(), TimeoutError."""
        self._read_again()
        return TlsStream(sock, waiter, self._context, host, until)

    def grpc_only(self, connect: Callable[[], socket.socket], waiter: Waiter, host: str, until: float) -> bool:
        """Whether this host ends a connection without HTTP/2 (ALPN h2) at once, and begins HTTP/2 on one with it.

        A server that speaks HTTP/1.1 waits for a request first. Raises OSError, Stopped.
        """
        plain = self.stream(connect(), waiter, host, until)
        try:
            plain.deadline = min(until, time.monotonic() + _CLOSES_WITHIN)
            if plain.receive():
                return False
        except ConnectionError:
            pass
        finally:
            plain.close()
        offering = context(self._config)
        offering.set_alpn_protocols(["h2"])
        stream = TlsStream(connect(), waiter, offering, host, until)
        try:
            return begins_http2(stream.receive())
        finally:
            stream.close()

    def explain(self, error: Exception, host: str) -> Exception:
        """Return an error of TLS in words that say what to do; any other as it is."""
        return explain(error, host, self._config) if isinstance(error, ssl.SSLError) else error


def stamp(config: Config) -> list[tuple[object, ...]]:
    """What changes when one of the files does."""
    authorities = config.ca_cert or ssl.get_default_verify_paths().cafile
    return [_stamp(path) for path in (authorities, *(config.cert or ())) if path]


def _stamp(path: str) -> tuple[object, ...]:
    try:
        status = os.stat(path.encode())
    except OSError:
        return (path,)
    return path, status.st_mtime_ns, status.st_ino, status.st_size


def context(config: Config) -> ssl.SSLContext:
    """The authorities that servers are verified by, and our certificate. Raises Refused, which names the file."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if config.ca_cert:
        _read("ca_cert", config.ca_cert)
        try:
            made.load_verify_locations(cafile=config.ca_cert.encode())
        except ssl.SSLError:
            raise Refused(f"ca_cert: {config.ca_cert} holds no certificate in PEM form") from None
        # An intermediate authority is enough, as for etcd's own clients.
        made.verify_flags |= _PARTIAL_CHAIN
    else:
        made.load_default_certs()
    if config.cert:
        _load_cert(made, config.cert)
    return made


def _load_cert(made: ssl.SSLContext, files: tuple[str, ...]) -> None:
    cert, key = files[0], files[-1]
    texts = [_read("cert", file) for file in files]

    def password() -> str:
        # OpenSSL would ask for a passphrase at the terminal.
        raise Refused(f"cert: the key in {key} is encrypted: store it without a passphrase")

    try:
        made.load_cert_chain(cert.encode(), key.encode(), password)
    except ssl.SSLError as error:
        if b"-----BEGIN CERTIFICATE-----" not in texts[0]:
            fault = f"{cert} holds no certificate in PEM form"
        elif b"PRIVATE KEY-----" not in texts[-1]:
            fault = f"{key} holds no private key in PEM form" + (
                f": name its file, too: cert = {cert}, KEYFILE" if len(files) == 1 else ""
            )
        elif error.reason == "KEY_VALUES_MISMATCH":
            fault = f"the key in {key} does not belong to the certificate in {cert}"
        else:
            fault = f"{' and '.join(files)} cannot be used ({error.reason or error})"
        raise Refused(f"cert: {fault}") from None


def _read(key: str, path: str) -> bytes:
    try:
        # In the file's encoding, whatever the locale's is.
        with open(path.encode(), "rb") as file:
            return file.read()
    except OSError as error:
        raise Refused(f"{key}: {path}: {error.strerror}: name a file that can be read") from None


class TlsStream(Stream):
    """A Stream through TLS to the server of this name or address."""

    def __init__(self, sock: socket.socket, waiter: Waiter, made: ssl.SSLContext, host: str, until: float) -> None:
        """Shake hands. Raises OSError: ssl.SSLError for explain(), TimeoutError."""
        name = host.partition("%")[0]  # no certificate has the zone of a link-local address
        # If it fails it closes the socket.
        secured = made.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
        super().__init__(secured, waiter)
        self.deadline = until
        began = time.monotonic()
        try:
            self.when_ready(select.POLLIN, secured.do_handshake)
        except BaseException as error:
            secured.close()
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"no end of the TLS handshake in {time.monotonic() - began:.1f} s") from None
            if isinstance(error, ConnectionError):
                # What etcd 3.4 does at a port for http only.
                why = "it closed the connection during the TLS handshake: it may need protocol = http"
                raise OSError(why) from None
            raise

    def when_ready(self, event: int, operation: Callable[[], Result]) -> Result:
        """See Stream.when_ready; TLS may have to read in order to write, and needs no wait for what it has buffered."""
        while True:
            try:
                return operation()
            except ssl.SSLWantReadError:
                self.wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self.wait(select.POLLOUT)
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError, BrokenPipeError, ConnectionResetError):
                if event == select.POLLOUT:
                    # Our certificate may be refused only after the handshake (TLS 1.3): the reason is unread.
                    self.receive()
                raise ConnectionResetError("the connection was closed") from None


def explain(error: ssl.SSLError, host: str, config: Config) -> Exception:
    """Return what went wrong in words that say what to do; EndpointRefused if waiting does not help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == _NOT_YET_VALID:
            # This machine's clock may not be set yet after its start.
            return OSError("its certificate is not valid yet: set this machine's clock, or renew the certificate")
        return EndpointRefused(_unverified(error.verify_code, error.verify_message, host, config))
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return OSError("the connection was closed: it may require a certificate (set cert), or protocol = http")
    reason = error.reason or str(error)
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return EndpointRefused("it does not speak https: set protocol = http")
    if "ALERT" in reason:
        alert = reason.partition("ALERT_")[2].replace("_", " ").lower()
        if alert == "internal error":
            # It reads both files at each handshake, and they may be replaced at this moment.
            return OSError(f"it ended the TLS handshake ({alert}): it may be unable to use its own certificate or key")
        if config.cert:
            wants = f"it does not accept the certificate in {config.cert[0]}: have etcd's trusted-ca-file sign it"
        else:
            wants = "it may want a certificate of ours: set cert"
        return EndpointRefused(f"it ended the TLS handshake ({alert}): {wants}")
    return OSError(f"TLS: {reason}")


def _unverified(code: int, message: str, host: str, config: Config) -> str:
    if code == _EXPIRED:
        return "its certificate has expired: renew it, or set this machine's clock"
    if code in _WRONG_NAME:
        return f"its certificate is not for {host}: name in host what it is for, or have {host} added to it"
    store = config.ca_cert or "the system's store"
    return f"its certificate is signed by none of the authorities in {store} ({message}): set ca_cert to its CA's file"
