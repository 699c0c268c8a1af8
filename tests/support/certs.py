# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Certificates, made by openssl as an administrator would make them, with small keys, in a directory of the test."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Callable, Optional, Sequence

from .member import Tls


# Configuration of "openssl ca", the only command that can make an expired certificate in all OpenSSL releases.
_CONF = """
[ca]
default_ca = authority
[authority]
database = {directory}/{name}.index
rand_serial = yes
unique_subject = no
new_certs_dir = {directory}
default_md = sha256
policy = any
[any]
organizationName = optional
commonName = optional
"""


class Authority:
    """A CA with the files `NAME.pem` and `NAME.key` in a directory; `issue` makes signed certificates there.

    It is a root, or an intermediate authority of the one in `below`.
    """

    def __init__(self, directory: Path, name: str = "ca", below: Optional[Authority] = None) -> None:
        self._directory = directory
        self.ca = str(directory / f"{name}.pem")
        self._key = str(directory / f"{name}.key")
        self._conf = directory / f"{name}.conf"
        self._conf.write_text(_CONF.format(directory=directory, name=name))
        (directory / f"{name}.index").touch()
        subject = f"/O=ctdb-etcd tests/CN={name}"
        if below:
            extensions = "basicConstraints = critical,CA:true\nkeyUsage = critical,keyCertSign,cRLSign\n"
            self.ca, self._key = below._sign(name, subject, extensions)
        else:
            self._openssl(
                *"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30".split(),
                *("-subj", subject, "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
                *("-keyout", self._key, "-out", self.ca),
            )

    def issue(
        self,
        name: str,
        san: str = "IP:127.0.0.1",
        subject: str = "/O=test",
        expired: bool = False,
        future: bool = False,
    ) -> Tls:
        """Issue a certificate for the names and addresses in `san`."""
        dates = ["-startdate", "20250101000000Z", "-enddate", "20250102000000Z"] if expired else []
        if future:
            dates = ["-startdate", "20980101000000Z", "-enddate", "20990101000000Z"]
        names = f"subjectAltName = {san}\n" if san else ""
        cert, key = self._sign(name, subject, f"{names}extendedKeyUsage = serverAuth, clientAuth\n", dates)
        return Tls(cert, key, self.ca)

    def _sign(self, name: str, subject: str, extensions: str, dates: Sequence[str] = ()) -> tuple[str, str]:
        """Make a key and a certificate; return their files."""
        cert, key, request = (str(self._directory / f"{name}.{suffix}") for suffix in ("pem", "key", "csr"))
        file = self._directory / f"{name}.ext"
        file.write_text(extensions)
        self._openssl(
            *"req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes".split(),
            *("-subj", subject, "-keyout", key, "-out", request),
        )
        self._openssl(
            *("ca", "-batch", "-config", str(self._conf), "-cert", self.ca, "-keyfile", self._key),
            *("-in", request, *(dates or ["-days", "30"]), "-extfile", str(file), "-notext", "-out", cert),
        )
        return cert, key

    @staticmethod
    def _openssl(*args: str) -> None:
        done = subprocess.run(["openssl", *args], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, f'openssl {" ".join(args)}: {done.stderr}'


class Renewal:
    """An old and a new CA, and the TLS files of etcd and the helper while one replaces the other.

    Each certificate is in one file with its key, and a new file replaces the old one atomically. `seen_at` is the path
    of the directory as programs see it, if that is another one.
    """

    def __init__(self, directory: Path, seen_at: Optional[str] = None, san: str = "IP:127.0.0.1") -> None:
        self._directory = directory
        self._san = san
        self.old, self.new = Authority(directory, "old"), Authority(directory, "new")
        seen_at = seen_at or str(directory)
        trusted = f"{seen_at}/trusted.pem"
        self.server = Tls(f"{seen_at}/server.pem", f"{seen_at}/server.pem", trusted)
        self.client = Tls(f"{seen_at}/client.pem", f"{seen_at}/client.pem", trusted)
        self.etcd_args = ["--client-cert-auth", "--trusted-ca-file", trusted]
        self.keys = {"protocol": "https", "ca_cert": trusted, "cert": self.client.cert}
        self._trust(self.old)
        self.certify("server", self.old)
        self.certify("client", self.old)

    def steps(self) -> list[Callable[[], None]]:
        """Return the administrator's steps, in order; etcd must be restarted after each."""
        return [
            lambda: self._trust(self.old, self.new),
            lambda: self.certify("server", self.new),
            lambda: self.certify("client", self.new),
            lambda: self._trust(self.new),
        ]

    def _trust(self, *authorities: Authority) -> None:
        self._put("trusted", *(authority.ca for authority in authorities))

    def certify(self, which: str, authority: Authority) -> None:
        """Give the server or the client a new certificate from this CA."""
        issued = authority.issue("issued", self._san)
        self._put(which, issued.cert, issued.key)

    def _put(self, name: str, *files: str) -> None:
        new = self._directory / "put"
        new.write_text("".join(Path(file).read_text() for file in files))
        new.rename(self._directory / f"{name}.pem")
