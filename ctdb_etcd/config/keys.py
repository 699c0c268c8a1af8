# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Every key of the configuration file: its type, its default, what it may be, and the rules between keys.

A check takes the value as ConfigObj read it (a text, or a list where there were commas) and returns it in its
Python type, or raises ValueError. The checks are plain functions because ConfigObj's own validator would take a
quarter of a contender's start to import.
"""

from __future__ import annotations

import itertools
import os
import re
import socket
import stat

from ..fence import LEAST_TRY, fits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Tuple

    Check = Callable[[object], Any]
    Key = Tuple[Check, Any, str]  # check, default, what a message says is allowed

NAME_ALLOWED = "at most 63 ASCII letters, digits and any of !@$&()_'{}~^.-, but not . or .. alone"

# Not compiled before they are used: few files have all keys.
_NAME = r"[A-Za-z0-9!@$&()_'{}~^.-]{1,63}"
_HOST = r"(\[(?P<v6>[0-9A-Fa-f:.]+(%[\w.-]+)?)\]|(?P<name>[^:\[\]]+))(:(?P<port>\d{1,5}))?"
_BARE_V6 = r"(?P<v6>[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%[\w.-]+)?)"
_DNS_NAME = r"([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?"
# That of DNS, in characters.
_DNS_NAME_MAX = 253
_CLUSTER_ID = r"(0[xX])?[0-9A-Fa-f]{1,16}"

_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def path_component(name: str) -> str:
    """Return the name as a component of an etcd path, or raise ValueError that says what is allowed.

    NetBIOS would allow blanks and more; here they would need quoting in etcdctl and in v2's URLs.
    """
    if not re.fullmatch(_NAME, name) or name in (".", ".."):
        raise ValueError(NAME_ALLOWED)
    return name


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a list")
    return value


def number(kind: Callable[[str], float], least: float, most: float, default: float, what: str) -> Key:
    def check(value: object) -> float:
        text = _text(value)
        # float() and int() would take other digits and underscores as well.
        if not re.fullmatch("[0-9.eE+-]+", text):
            raise ValueError(text)
        found = kind(text)
        if not least <= found <= most:
            raise ValueError("out of range")
        return found

    return check, default, f"{what} from {least} to {most}"


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
    return path_component(_text(value)).upper()


def lock_path(value: object) -> str:
    return "/".join(path_component(part) for part in _text(value).split("/"))


def prefix(value: object) -> str:
    text = _text(value)
    if not text.startswith("/"):
        raise ValueError("no slash")
    return "/" + lock_path(text[1:])


def hosts(value: object) -> list[tuple[str, int | None]]:
    items = value if isinstance(value, list) else [value]
    found = [_host(_text(item)) for item in items]
    if not found:
        raise ValueError("none")
    return found


def _host(text: str) -> tuple[str, int | None]:
    match = re.fullmatch(_BARE_V6, text, re.ASCII) or re.fullmatch(_HOST, text, re.ASCII)
    if not match:
        raise ValueError(text)
    found = match.groupdict()
    port = found.get("port")
    if port and not 1 <= int(port) <= 65535:
        raise ValueError(text)
    if found["v6"]:
        try:
            socket.inet_pton(socket.AF_INET6, found["v6"].partition("%")[0])
        except OSError:
            raise ValueError(text) from None
    return found["v6"] or dns_name(found["name"]), int(port) if port else None


def dns_name(value: object) -> str:
    """Return the name without a dot at its end, or raise ValueError if no host and no domain can have it."""
    text = _text(value)
    if not re.fullmatch(_DNS_NAME, text, re.ASCII) or len(text) > _DNS_NAME_MAX:
        raise ValueError(text)
    return text.rstrip(".")


def secret(value: object) -> str:
    text = _text(value)
    if not text:
        raise ValueError("empty")
    return text


def file(value: object) -> str:
    path = _text(value)
    # Absolute: ctdbd's working directory is nobody's choice.
    if not path.startswith("/") or "\0" in path:
        raise ValueError("not absolute, or no path")
    return path


def cert(value: object) -> tuple[str, ...]:
    files = tuple(file(item) for item in (value if isinstance(value, list) else [value]))
    if not 1 <= len(files) <= 2:
        raise ValueError("too many, or none")
    return files


def cluster_id(value: object) -> int:
    text = _text(value)
    if not re.fullmatch(_CLUSTER_ID, text):
        raise ValueError(text)
    return int(text, 16)


_PATH_ALLOWED = "names joined by single slashes, each of " + NAME_ALLOWED
_YES_NO = "true or false"
_QUOTED = "text, in quotes if it holds a comma, a # or quotes"
_FILE = "the absolute path of a PEM file"

SPEC: dict[str, Key] = {
    "host": (hosts, [("127.0.0.1", None)], "host, host:port, [IPv6]:port, or a list of them with commas"),
    "port": number(int, 1, 65535, 2379, "a whole number"),
    "lock_ttl": number(int, 3, 3600, 9, "whole seconds"),
    "refresh": number(float, 0.2, 1800, 2.0, "seconds"),
    "locks_dir": (lock_path, "_ctdb", _PATH_ALLOWED),
    "lock_prefix": (prefix, "/_locks", "a slash and " + _PATH_ALLOWED),
    "netbios_name": (name, None, NAME_ALLOWED),
    "acquire_timeout": number(float, 1, 110, 4.0, "seconds"),
    "read_timeout": number(float, 0.2, 3600, 3.0, "seconds"),
    "api": (option("auto", "3", "2"), "auto", "auto, 3 or 2"),
    "protocol": (option("http", "https"), "http", "http or https"),
    "ca_cert": (file, None, _FILE),
    "cert": (cert, None, _FILE + " with certificate and key, or two: certificate, key"),
    "username": (secret, None, _QUOTED),
    "password": (secret, None, _QUOTED),
    "srv_domain": (dns_name, None, "a DNS domain"),
    "expected_cluster_id": (cluster_id, None, "at most 16 hexadecimal digits"),
    "version_prefix": (prefix, "/v2", "a slash and " + _PATH_ALLOWED),
    "allow_redirect": (boolean, True, _YES_NO),
    "allow_reconnect": (boolean, False, _YES_NO),
    "use_proxies": (boolean, False, _YES_NO),
    "per_host_pool_size": number(int, 1, 1000, 10, "a whole number"),
}

SECRET = "password"


def faults_between(values: dict[str, Any]) -> list[tuple[str, str]]:
    """The key and the reason of each combination of valid values that could cost the lock or cannot work."""
    faults = _timing(values["lock_ttl"], values["refresh"], values["read_timeout"])
    named = [f"{host.lower()} (port {own or values['port']})" for host, own in values["host"]]
    for one in dict.fromkeys(named):
        if named.count(one) > 1:
            faults.append(("host", f"{one} is there {named.count(one)} times: name each endpoint once"))
    for key, other in (("username", "password"), ("password", "username")):
        if values[key] and not values[other]:
            faults.append((key, f"{other} is missing: set both, or none for an etcd without login"))
    return faults


def _timing(ttl: int, refresh: float, read_timeout: float) -> list[tuple[str, str]]:
    """The safety rule's inequality, for an etcd that answers within LEAST_TRY seconds."""
    one_try = min(read_timeout, LEAST_TRY)
    if fits(ttl, refresh, one_try):
        return []
    longer = next(f"lock_ttl = {n}" for n in itertools.count(ttl) if fits(n, refresh, one_try))
    # The largest values that fit; none of them is above the present one, which does not.
    tenths = [tenth / 10 for tenth in range(2, 18000)]
    more_often = [f"refresh = {n:g}" for n in tenths if fits(ttl, n, one_try)]
    quicker = [f"read_timeout = {n:g}" for n in tenths if fits(ttl, refresh, n)]
    ways = " or ".join([longer, *more_often[-1:], *quicker[-1:]])
    return [
        (
            "refresh",
            f"{refresh:g} with lock_ttl = {ttl} and read_timeout = {read_timeout:g} leaves no time for two tries"
            f" before the lock would be lost: set {ways}",
        )
    ]


def warnings_about(path: str, given: list[str], values: dict[str, Any]) -> list[tuple[str, str]]:
    """The key and the reason of each value of the file at path that has no effect, and of a readable password.

    `given` are the keys that the file sets.
    """
    one_host = not values["srv_domain"] and len(values["host"]) == 1
    found = []
    if values["api"] == "3":
        why = "has no effect with api = 3: remove the line"
        found += [(key, why) for key in ("version_prefix", "per_host_pool_size") if values[key] != SPEC[key][1]]
    if values["protocol"] == "http":
        found += [(key, "has no effect with protocol = http: set protocol = https") for key in ("cert", "ca_cert")]
    if values["srv_domain"]:
        found += [(key, "has no effect with srv_domain: remove one of them") for key in ("host", "port")]
    if values["allow_reconnect"] and one_host:
        found.append(("allow_reconnect", "true has no effect with one host: name all members of etcd in host"))
    if not values["allow_reconnect"] and not one_host:
        found.append(("allow_reconnect", "false has no effect: all endpoints are used; name one host to use only that"))
    if values["allow_reconnect"] and not values["use_proxies"]:
        found.append(("use_proxies", "false has no effect: the endpoints named here are used, never etcd's own list"))
    if _others_may_read(path):
        found.append(("password", f"others may read this file: chmod 600 {path}"))
    return [(key, why) for key, why in found if key in given]


def _others_may_read(path: str) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    # Root's own group may read it.
    return bool(status.st_mode & stat.S_IROTH or (status.st_mode & stat.S_IRGRP and status.st_gid))
