# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The configuration file: `key = value`, read by ConfigObj and checked against SPEC.

Either every value is good, or all faults are named at once: nothing is guessed or ignored, because a node
that reads its file differently from its peers would hold a different lock. Values are never quoted
in a message if the key is a secret's.
"""

from __future__ import annotations

import re

from configobj import ConfigObj, ConfigObjError

from . import checks
from .failover import bracketed
from .identity import NAME_ALLOWED
from .lock import Refused
from .relations import faults_between, warnings_about

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SECONDS = "seconds from {} to {}"
_PATH_ALLOWED = "names joined by single slashes, each of " + NAME_ALLOWED
_YES_NO = "true or false"
_QUOTED = "text, in quotes if it holds a comma, a # or quotes"
_FILE = "the absolute path of a PEM file"

# key: (check, default, what a message says is allowed)
SPEC: dict[str, tuple[checks.Check, Any, str]] = {
    "host": (checks.hosts, [("127.0.0.1", None)], "host, host:port, [IPv6]:port, or a list of them with commas"),
    "port": (checks.integer(1, 65535), 2379, "a whole number from 1 to 65535"),
    "lock_ttl": (checks.integer(3, 3600), 9, "whole " + _SECONDS.format(3, 3600)),
    "refresh": (checks.seconds(0.2, 1800), 2.0, _SECONDS.format(0.2, 1800)),
    "locks_dir": (checks.lock_path, "_ctdb", _PATH_ALLOWED),
    "lock_prefix": (checks.prefix, "/_locks", "a slash and " + _PATH_ALLOWED),
    "netbios_name": (checks.name, None, NAME_ALLOWED),
    "acquire_timeout": (checks.seconds(1, 110), 30.0, _SECONDS.format(1, 110)),
    "read_timeout": (checks.seconds(0.2, 3600), 3.0, _SECONDS.format(0.2, 3600)),
    "api": (checks.option("auto", "3", "2"), "auto", "auto, 3 or 2"),
    "protocol": (checks.option("http", "https"), "http", "http or https"),
    "ca_cert": (checks.file, None, _FILE),
    "cert": (checks.cert, None, _FILE + " with certificate and key, or two: certificate, key"),
    "username": (checks.secret, None, _QUOTED),
    "password": (checks.secret, None, _QUOTED),
    "srv_domain": (checks.domain, None, "a DNS domain"),
    "expected_cluster_id": (checks.cluster_id, None, "at most 16 hexadecimal digits, as etcd's v2 API shows it"),
    "version_prefix": (checks.prefix, "/v2", "a slash and " + _PATH_ALLOWED),
    "allow_redirect": (checks.boolean, True, _YES_NO),
    "allow_reconnect": (checks.boolean, False, _YES_NO),
    "use_proxies": (checks.boolean, False, _YES_NO),
    "per_host_pool_size": (checks.integer(1, 1000), 10, "a whole number from 1 to 1000"),
}

_SECRET = ("password",)


class Config:
    """The values of the file, checked; what is not in the file has its default."""

    hosts: list[tuple[str, int]]
    lock_ttl: int
    refresh: float
    locks_dir: str
    lock_prefix: str
    netbios_name: str | None
    acquire_timeout: float
    read_timeout: float
    api: str
    protocol: str
    ca_cert: str | None
    cert: tuple[str, ...] | None
    username: str | None
    password: str | None
    srv_domain: str | None
    expected_cluster_id: str | None
    version_prefix: str
    allow_redirect: bool
    per_host_pool_size: int
    warnings: list[str]
    notes: list[str]

    def __init__(self, values: dict[str, object], warnings: list[str], notes: list[str]) -> None:
        self.__dict__.update(values)
        self.warnings = warnings
        self.notes = notes


def parse(path: str, data: bytes) -> Config:
    """Check the contents of the file at path, which is for messages only. Raises Refused: a line a fault."""
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Refused(f"{path}: line {line}: is not UTF-8 text") from None
    faults: list[str] = []
    values = _read(path, lines, faults)
    notes = _rename_lock_refresh(path, lines, values, faults)
    _refuse_unknown(path, lines, values, faults)
    for key in _SECRET:
        # ConfigObj takes what follows for a comment, and the login would fail for no reason that one can see.
        if key in values and re.search(r"""=\s*[^'"\s][^'"]*#""", lines[_line_of_key(lines, key) - 1]):
            faults.append(f"{_where(path, lines, key)}: a # begins a comment: put the value into quotes")
    given = list(values)
    checked = _checked(path, lines, values, faults)
    if not faults:
        faults += [f"{_where(path, lines, key)}: {why}" for key, why in faults_between(checked)]
    if faults:
        raise Refused("\n".join(faults))
    warnings = [f"{_where(path, lines, key)}: {why}" for key, why in warnings_about(path, given, checked)]
    port = checked.pop("port")
    checked["hosts"] = [(host, own or port) for host, own in checked.pop("host")]
    return Config(checked, warnings, notes)


def client_keywords(config: Config, endpoint: tuple[str, int]) -> dict[str, Any]:
    """All keyword arguments of python-etcd's Client, for one endpoint (host, port).

    Names are looked up and endpoints changed by us: python-etcd would wait for ever, take more of them from a
    server that is not verified yet, and repeat what must not be repeated. With https its client is to be given
    to tls.secure() before its first request.
    """
    host, port = endpoint
    cert = config.cert
    return {
        "host": bracketed(host),
        "port": port,
        "srv_domain": None,
        "version_prefix": config.version_prefix,
        "read_timeout": config.read_timeout,
        "allow_redirect": config.allow_redirect,
        "protocol": config.protocol,
        "cert": cert[0] if cert and len(cert) == 1 else cert,
        "ca_cert": config.ca_cert,
        "username": config.username,
        "password": config.password,
        "allow_reconnect": False,
        "use_proxies": True,
        "expected_cluster_id": config.expected_cluster_id,
        "per_host_pool_size": config.per_host_pool_size,
        "lock_prefix": config.lock_prefix,
    }


def _read(path: str, lines: list[str], faults: list[str]) -> ConfigObj:
    try:
        values = ConfigObj(lines, interpolation=False)
    except ConfigObjError as error:
        # Only the line's number: the line itself may hold a password.
        for fault in error.errors:
            faults.append(f"{path}: line {fault.line_number}: {_syntax(lines, fault)}")
        values = getattr(error, "config", None) or ConfigObj(interpolation=False)
    for section in values.sections:
        number = _line_of(lines, rf"\[+\s*['\"]?{re.escape(section)}\b")
        faults.append(f"{path}: line {number}: [sections] are not used here: remove the line")
        # ConfigObj puts what follows into the section; it belongs to the whole, as the reader meant it.
        for key in values[section].scalars:
            values.setdefault(key, values[section][key])
        del values[section]
    return values


def _syntax(lines: list[str], fault: ConfigObjError) -> str:
    kind = type(fault).__name__
    if kind == "DuplicateError":
        return "this key was set already: keep one of the lines"
    if "=" not in lines[fault.line_number - 1]:
        return 'is not of the form "key = value"'
    return "the value cannot be read: check its quotes, and put a value with a comma or # into quotes"


def _rename_lock_refresh(path: str, lines: list[str], values: ConfigObj, faults: list[str]) -> list[str]:
    """Take `lock_refresh`, which Samba's helper reads, for `refresh`."""
    if "lock_refresh" not in values:
        return []
    where = _where(path, lines, "lock_refresh")
    if "refresh" in values:
        faults.append(f"{where}: refresh is set as well: keep only refresh")
    values.setdefault("refresh", values.pop("lock_refresh"))
    return [f"{where}: is taken for refresh, its name here"]


def _refuse_unknown(path: str, lines: list[str], values: ConfigObj, faults: list[str]) -> None:
    for key in list(values):
        if key in SPEC:
            continue
        del values[key]
        where = _where(path, lines, key)
        from difflib import get_close_matches

        near = get_close_matches(key, SPEC, n=1, cutoff=0)[0]
        faults.append(f"{where}: is not a known key; the nearest one is {near}")


def _checked(path: str, lines: list[str], values: ConfigObj, faults: list[str]) -> dict[str, Any]:
    """All values in their types, those that are not in the file too; wrong ones are added to the faults."""
    result = {key: default for key, (_, default, _) in SPEC.items()}
    for key, value in values.items():
        check, _, allowed = SPEC[key]
        try:
            result[key] = check(value)
        except ValueError:
            shown = ", ".join(value) if isinstance(value, list) else value
            # A value in triple quotes has several lines, a fault has one.
            shown = "the value" if key in _SECRET else f"'{' '.join(shown.splitlines())}'"
            faults.append(f"{_where(path, lines, key)}: {shown} is not allowed: it takes {allowed}")
    return result


def _where(path: str, lines: list[str], key: str) -> str:
    return f"{path}: line {_line_of_key(lines, key)}: {key}"


def _line_of(lines: list[str], pattern: str) -> int:
    return next((n for n, line in enumerate(lines, 1) if re.match(r"\s*" + pattern, line)), 1)


def _line_of_key(lines: list[str], key: str) -> int:
    return _line_of(lines, rf"['\"]?{re.escape(key)}['\"]?\s*=")
