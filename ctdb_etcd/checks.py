# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What a value of the configuration file may be: the checks that the configspec names, beyond the validator's own.

Each takes the value as ConfigObj read it (a text, or a list where there were commas) and returns it in its
Python type, or raises ValidateError; what is allowed stands in config.SPEC.
"""

from __future__ import annotations

import re

from .identity import check_name

try:
    from configobj.validate import ValidateError
except ImportError:  # configobj before 5.0.7
    from validate import ValidateError

_HOST = re.compile(r"(\[(?P<v6>[0-9A-Fa-f:.]+(%\w+)?)\]|(?P<name>[A-Za-z0-9._-]+))(:(?P<port>\d{1,5}))?", re.ASCII)
_BARE_V6 = re.compile(r"[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%\w+)?")
_DOMAIN = re.compile(r"([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?", re.ASCII)
_CLUSTER_ID = re.compile(r"(0[xX])?[0-9A-Fa-f]{1,16}")


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


def _secret(value: object) -> str:
    text = _text(value)
    if not text:
        raise ValidateError("empty")
    return text


def _file(value: object) -> str:
    path = _text(value)
    # Absolute: ctdbd's working directory is nobody's choice.
    if not path.startswith("/"):
        raise ValidateError("not absolute")
    return path


def _cert(value: object) -> tuple[str, ...]:
    files = tuple(_file(item) for item in (value if isinstance(value, list) else [value]))
    if not 1 <= len(files) <= 2:
        raise ValidateError("too many, or none")
    return files


def _domain(value: object) -> str:
    text = _text(value)
    if not _DOMAIN.fullmatch(text):
        raise ValidateError(text)
    return text.rstrip(".")


def _cluster_id(value: object) -> str:
    text = _text(value)
    if not _CLUSTER_ID.fullmatch(text):
        raise ValidateError(text)
    # As etcd's v2 API writes it, and python-etcd compares it.
    return f"{int(text, 16):x}"


CHECKS = {
    "seconds": _seconds,
    "hosts": _hosts,
    "name": _name,
    "lock_path": _lock_path,
    "prefix": _prefix,
    "secret": _secret,
    "file": _file,
    "cert": _cert,
    "domain": _domain,
    "cluster_id": _cluster_id,
}
