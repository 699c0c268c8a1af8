# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The configuration file: `key = value`, read by ConfigObj and checked against a configspec.

Either every value is good, or all faults are named at once: nothing is guessed or ignored, because a node
that reads its file differently from its peers would hold a different lock. Values are never quoted
in a message if the key is a secret's.
"""

from __future__ import annotations

import re

from configobj import ConfigObj, ConfigObjError

from .fence import margin
from .identity import NAME_ALLOWED, check_name
from .lock import Refused

try:
    from configobj.validate import ValidateError, Validator
except ImportError:  # configobj before 5.0.7
    from validate import ValidateError, Validator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The shortest time in which one try at an endpoint is worth making, in seconds.
LEAST_TRY = 1.0

_HOST = re.compile(r"(\[(?P<v6>[0-9A-Fa-f:.]+(%\w+)?)\]|(?P<name>[A-Za-z0-9._-]+))(:(?P<port>\d{1,5}))?", re.ASCII)
_BARE_V6 = re.compile(r"[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%\w+)?")

_SECONDS = "seconds from {} to {}"
_PATH_ALLOWED = "names joined by single slashes, each of " + NAME_ALLOWED

# key: (check of the configspec, what a message says is allowed)
SPEC = {
    "host": ("hosts(default=list('127.0.0.1'))", "host, host:port, [IPv6]:port, or a list of them with commas"),
    "port": ("integer(min=1, max=65535, default=2379)", "a whole number from 1 to 65535"),
    "lock_ttl": ("integer(min=3, max=3600, default=9)", "whole " + _SECONDS.format(3, 3600)),
    "refresh": ("seconds(0.2, 1800, default=2)", _SECONDS.format(0.2, 1800)),
    "locks_dir": ("lock_path(default='_ctdb')", _PATH_ALLOWED),
    "lock_prefix": ("prefix(default='/_locks')", "a slash and " + _PATH_ALLOWED),
    "netbios_name": ("name(default=None)", NAME_ALLOWED),
    "acquire_timeout": ("seconds(1, 110, default=30)", _SECONDS.format(1, 110)),
    "read_timeout": ("seconds(0.2, 3600, default=3)", _SECONDS.format(0.2, 3600)),
    "api": ("option('auto', '3', '2', default='auto')", "auto, 3 or 2"),
}

_UNSUPPORTED = (
    "srv_domain version_prefix allow_redirect protocol cert ca_cert username password allow_reconnect"
    " use_proxies expected_cluster_id per_host_pool_size"
).split()

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
    notes: list[str]

    def __init__(self, values: dict[str, object], notes: list[str]) -> None:
        self.__dict__.update(values)
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
    checked = _validate(path, lines, values, faults)
    if not faults:
        faults += _timing(path, checked)
    if faults:
        raise Refused("\n".join(faults))
    port = checked.pop("port")
    checked["hosts"] = [(host, own or port) for host, own in checked.pop("host")]
    return Config(checked, notes)


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
    where = f"{path}: line {_line_of_key(lines, 'lock_refresh')}: lock_refresh"
    if "refresh" in values:
        faults.append(f"{where}: refresh is set as well: keep only refresh")
    values.setdefault("refresh", values.pop("lock_refresh"))
    return [f"{where}: is taken for refresh, its name here"]


def _refuse_unknown(path: str, lines: list[str], values: ConfigObj, faults: list[str]) -> None:
    for key in list(values):
        if key in SPEC:
            continue
        del values[key]
        where = f"{path}: line {_line_of_key(lines, key)}: {key}"
        if key in _UNSUPPORTED:
            faults.append(f"{where}: is not supported by this version: remove the line")
            continue
        from difflib import get_close_matches

        near = get_close_matches(key, [*SPEC, *_UNSUPPORTED], n=1, cutoff=0)[0]
        faults.append(f"{where}: is not a known key; the nearest one is {near}")


def _validate(path: str, lines: list[str], values: ConfigObj, faults: list[str]) -> dict[str, Any]:
    spec = [f"{key} = {check}" for key, (check, _) in SPEC.items()]
    values.configspec = ConfigObj(spec, interpolation=False, list_values=False, _inspec=True)
    checks = {"seconds": _seconds, "hosts": _hosts, "name": _name, "lock_path": _lock_path, "prefix": _prefix}
    result = values.validate(Validator(checks), preserve_errors=True)
    if result is not True:
        for key, outcome in result.items():
            if outcome is not True:
                value = values[key]
                shown = ", ".join(value) if isinstance(value, list) else value
                # A value in triple quotes has several lines, a fault has one.
                shown = "the value" if key in _SECRET else f"'{' '.join(shown.splitlines())}'"
                where = f"{path}: line {_line_of_key(lines, key)}: {key}"
                faults.append(f"{where}: {shown} is not allowed: it takes {SPEC[key][1]}")
    return dict(values)


def _timing(path: str, values: dict[str, Any]) -> list[str]:
    """The safety rule's inequality: after a refresh that fails there must be time for two tries."""
    ttl, refresh, read_timeout = values["lock_ttl"], values["refresh"], values["read_timeout"]
    tries = 2 * min(read_timeout, LEAST_TRY)
    usable = ttl - margin(ttl)
    if refresh + tries <= usable:
        return []
    most = int((usable - tries) * 10) / 10
    need = next(n for n in range(1, 10**6) if n - margin(n) >= refresh + tries)
    ways = [f"lock_ttl = {need}"]
    if most >= 0.2:
        ways.append(f"refresh = {most:g}")
    return [
        f"{path}: refresh = {refresh:g} with lock_ttl = {ttl} leaves no time for two tries before the lock"
        f" would be lost: set {' or '.join(ways)}"
    ]


def _line_of(lines: list[str], pattern: str) -> int:
    return next((n for n, line in enumerate(lines, 1) if re.match(r"\s*" + pattern, line)), 1)


def _line_of_key(lines: list[str], key: str) -> int:
    return _line_of(lines, rf"['\"]?{re.escape(key)}['\"]?\s*=")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValidateError("a list")
    return value


def _seconds(value: object, least: str, most: str) -> float:
    try:
        number = float(_text(value))
    except ValueError:
        number = float("nan")
    # Not the validator's own float: that lets nan through.
    if not float(least) <= number <= float(most):
        raise ValidateError("not a number, or out of range")
    return number


def _name(value: object) -> str:
    try:
        # testparm answers in upper case, and all nodes must mean the same lock.
        return check_name(_text(value)).upper()
    except ValueError as error:
        raise ValidateError(str(error)) from None


def _lock_path(value: object) -> str:
    try:
        return "/".join(check_name(part) for part in _text(value).split("/"))
    except ValueError as error:
        raise ValidateError(str(error)) from None


def _prefix(value: object) -> str:
    text = _text(value)
    if not text.startswith("/"):
        raise ValidateError("no slash")
    return "/" + _lock_path(text[1:])


def _hosts(value: object) -> list[tuple[str, int | None]]:
    items = value if isinstance(value, list) else [value]
    hosts = [_host(_text(item)) for item in items]
    if not hosts or len(set(hosts)) < len(hosts):
        raise ValidateError("none, or one twice")
    return hosts


def _host(text: str) -> tuple[str, int | None]:
    if _BARE_V6.fullmatch(text):
        return text, None
    match = _HOST.fullmatch(text)
    if not match:
        raise ValidateError(text)
    port = match["port"]
    if port and not 1 <= int(port) <= 65535:
        raise ValidateError(text)
    return match["v6"] or match["name"], int(port) if port else None
