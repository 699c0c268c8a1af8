# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What a value of the configuration file may be.

Each check takes the value as ConfigObj read it (a text, or a list where there were commas) and returns it in its
Python type, or raises ValueError; what is allowed stands in config.SPEC. They are no configspec for ConfigObj's own
validator, because that one takes a quarter of a contender's start to import.
"""

from __future__ import annotations

import re

from .identity import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    Check = Callable[[object], Any]

# Not compiled before they are used: few files have all keys.
_HOST = r"(\[(?P<v6>[0-9A-Fa-f:.]+(%\w+)?)\]|(?P<name>[A-Za-z0-9._-]+))(:(?P<port>\d{1,5}))?"
_BARE_V6 = r"[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%\w+)?"
_DOMAIN = r"([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?"
_CLUSTER_ID = r"(0[xX])?[0-9A-Fa-f]{1,16}"

_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a list")
    return value


def seconds(least: float, most: float) -> Check:
    def check(value: object) -> float:
        return _between(least, float(_text(value)), most)

    return check


def integer(least: int, most: int) -> Check:
    def check(value: object) -> int:
        return int(_between(least, int(_text(value)), most))

    return check


def _between(least: float, number: float, most: float) -> float:
    # So that nan is not.
    if not least <= number <= most:
        raise ValueError("out of range")
    return number


def option(*allowed: str) -> Check:
    def check(value: object) -> str:
        if value not in allowed:
            raise ValueError(value)
        return str(value)

    return check


def boolean(value: object) -> bool:
    try:
        return _BOOLEANS[_text(value).lower()]
    except KeyError:
        raise ValueError(value) from None


def name(value: object) -> str:
    # testparm answers in upper case, and all nodes must mean the same lock.
    return check_name(_text(value)).upper()


def lock_path(value: object) -> str:
    return "/".join(check_name(part) for part in _text(value).split("/"))


def prefix(value: object) -> str:
    text = _text(value)
    if not text.startswith("/"):
        raise ValueError("no slash")
    return "/" + lock_path(text[1:])


def hosts(value: object) -> list[tuple[str, int | None]]:
    items = value if isinstance(value, list) else [value]
    found = [_host(_text(item)) for item in items]
    if not found or len(set(found)) < len(found):
        raise ValueError("none, or one twice")
    return found


def _host(text: str) -> tuple[str, int | None]:
    if re.fullmatch(_BARE_V6, text):
        return text, None
    match = re.fullmatch(_HOST, text, re.ASCII)
    if not match:
        raise ValueError(text)
    port = match["port"]
    if port and not 1 <= int(port) <= 65535:
        raise ValueError(text)
    return match["v6"] or match["name"], int(port) if port else None


def secret(value: object) -> str:
    text = _text(value)
    if not text:
        raise ValueError("empty")
    return text


def file(value: object) -> str:
    path = _text(value)
    # Absolute: ctdbd's working directory is nobody's choice.
    if not path.startswith("/"):
        raise ValueError("not absolute")
    return path


def cert(value: object) -> tuple[str, ...]:
    files = tuple(file(item) for item in (value if isinstance(value, list) else [value]))
    if not 1 <= len(files) <= 2:
        raise ValueError("too many, or none")
    return files


def domain(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(_DOMAIN, text, re.ASCII):
        raise ValueError(text)
    return text.rstrip(".")


def cluster_id(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(_CLUSTER_ID, text):
        raise ValueError(text)
    # As etcd's v2 API writes it, and python-etcd compares it.
    return f"{int(text, 16):x}"
