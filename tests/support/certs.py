# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Certificates as an administrator would make them: by openssl, with small keys, in a directory of the test's."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .member import Tls


# What "openssl ca" wants to know. It alone makes an expired certificate in all releases of OpenSSL.
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
    """A CA whose files are `NAME.pem` and `NAME.key` in a directory; it signs what `issue` makes there."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._directory = directory
        self.ca = str(directory / f"{name}.pem")
        self._key = str(directory / f"{name}.key")
        self._conf = directory / f"{name}.conf"
        self._conf.write_text(_CONF.format(directory=directory, name=name))
        (directory / f"{name}.index").touch()
        self._openssl(
            *"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30".split(),
            *("-subj", f"/O=ctdb-etcd tests/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-keyout", self._key, "-out", self.ca),
        )

    def issue(self, name: str, san: str = "IP:127.0.0.1", subject: str = "/O=test", expired: bool = False) -> Tls:
        """A certificate for the names and addresses in `san`."""
        cert, key, request = (str(self._directory / f"{name}.{suffix}") for suffix in ("pem", "key", "csr"))
        extensions = self._directory / f"{name}.ext"
        extensions.write_text(
            f"{f'subjectAltName = {san}' if san else ''}\nextendedKeyUsage = serverAuth, clientAuth\n"
        )
        self._openssl(
            *"req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes".split(),
            *("-subj", subject, "-keyout", key, "-out", request),
        )
        dates = ["-startdate", "20250101000000Z", "-enddate", "20250102000000Z"] if expired else ["-days", "30"]
        self._openssl(
            *("ca", "-batch", "-config", str(self._conf), "-cert", self.ca, "-keyfile", self._key),
            *("-in", request, *dates, "-extfile", str(extensions), "-notext", "-out", cert),
        )
        return Tls(cert, key, self.ca)

    @staticmethod
    def _openssl(*args: str) -> None:
        done = subprocess.run(["openssl", *args], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, f'openssl {" ".join(args)}: {done.stderr}'
