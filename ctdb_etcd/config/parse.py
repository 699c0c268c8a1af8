# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""What the configuration file says: `key = value`, read by ConfigObj and checked against keys.SPEC.

Either every value is valid, or all faults are reported at once: nothing is guessed or ignored, because a node
that reads its file differently from its peers would hold a different lock. No part of a line that may hold a
secret is quoted in a message; a text in the place of a key only if it resembles a known key.
"""

from __future__ import annotations

import codecs
import re

from ..errors import Refused
from .file import read
from .keys import SECRET, SPEC, faults_between, warnings_about

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from configobj import ConfigObj, ConfigObjError

    from ..log import Log

# What makes the lock: a running helper keeps it, whatever the file says by now.
_OF_THE_LOCK = (
    "netbios_name",
    "lock_prefix",
    "locks_dir",
    "api",
    "version_prefix",
    "lock_ttl",
    "refresh",
    "expected_cluster_id",
)

_OLD_REFRESH = "lock_refresh"
_NO_SECTIONS = "[sections] are not used here: remove the line"
_NO_KEY_AND_VALUE = 'is not of the form "key = value"'


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
    expected_cluster_id: int | None
    version_prefix: str
    allow_redirect: bool
    warnings: list[str]
    notes: list[str]
    # How often the values have changed since the start of the process.
    edition = 0
    _path = ""
    _data = b""
    _log: Log
    _logged = ""

    def __init__(self, values: dict[str, object], warnings: list[str], notes: list[str]) -> None:
        self.__dict__.update(values)
        self.warnings = warnings
        self.notes = notes

    def follow(self, path: str, data: bytes, log: Log) -> None:
        """Let again() read this file, whose contents are known to be `data`."""
        self._path, self._data, self._log = path, data, log

    def again(self) -> bool:
        """Read the file again, if it is followed, and take over what may change. Returns whether anything has changed.

        What makes the lock stays as it is, which is logged. So is a file that cannot be used: all values stay. A fault
        is logged once, however often the file is read. It may block.
        """
        if not self._path:
            return False
        try:
            data = read(self._path)
            if data == self._data:
                return False
            found = vars(parse(self._path, data))
        except Refused as refusal:
            # A default file that did not exist at the start may still be missing.
            if self._data:
                self._log_once(f"going on with what the file said before: {refusal}")
            return False
        self._data = data
        self._log.error(f"{self._path} has changed and was read again")
        kept = [key for key in _OF_THE_LOCK if getattr(self, key) != found[key]]
        if kept:
            self._log_once(f"{self._path}: a running helper keeps {', '.join(kept)} as before")
        self.__dict__.update({key: value for key, value in found.items() if key not in _OF_THE_LOCK})
        self.edition += 1
        return True

    def directory(self, name: str) -> str:
        """The lock's directory in etcd for the cluster of this name, ending in a slash; without a name that of all."""
        return f"{self.lock_prefix}/{self.locks_dir}/" + (f"{name}/" if name else "")

    def _log_once(self, text: str) -> None:
        if text != self._logged:
            self._logged = text
            for line in text.splitlines():
                self._log.error(line)


def parse(path: str, data: bytes) -> Config:
    """Check these contents of the file at path, of which only the mode is read here. Raises Refused: a line a fault."""
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        lines = _lines(data.decode())
    except UnicodeDecodeError as error:
        line = len(_lines(data[: error.start].decode("latin-1")))
        raise Refused(f"{path}: line {line}: is not UTF-8 text") from None
    faults: list[str] = []
    values = _read(lines, faults)
    notes = _rename_lock_refresh(lines, values, faults)
    _refuse_unknown(lines, values, faults)
    # ConfigObj takes the rest for a comment, and the login would fail for no visible reason.
    if SECRET in values and re.search(r"""=\s*[^'"\s][^'"]*#""", lines[_line_of_key(lines, SECRET) - 1]):
        faults.append(f"{_where(lines, SECRET)}: a # begins a comment: put the value into quotes")
    given = list(values)
    checked = _checked(lines, values, faults)
    if not faults:
        faults += [f"{_where(lines, key)}: {why}" for key, why in faults_between(checked)]
    if faults:
        raise Refused("\n".join(f"{path}: {fault}" for fault in faults))
    warnings = [f"{path}: {_where(lines, key)}: {why}" for key, why in warnings_about(path, given, checked)]
    port = checked.pop("port")
    checked["hosts"] = [(host, own or port) for host, own in checked.pop("host")]
    return Config(checked, warnings, [f"{path}: {note}" for note in notes])


def _lines(text: str) -> list[str]:
    """As editors count them: splitlines() also begins a line at U+2028, at a form feed and at others."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _read(lines: list[str], faults: list[str]) -> ConfigObj:
    # It takes a third of a start, so testparm, which depends on what read() returns, is started before.
    try:
        from configobj import ConfigObj, ConfigObjError
    except ImportError as error:
        raise Refused(f"configobj cannot be imported ({error}): install python3-configobj") from None
    try:
        values = ConfigObj(lines, interpolation=False)
    except ConfigObjError as error:
        # Only the line's number: the line itself may hold a password.
        for fault in error.errors:
            faults.append(f"line {fault.line_number}: {_syntax(lines, fault)}")
        values = error.config
    for section in list(values.sections):
        number = _line_of(lines, rf"\[[\[\s]*['\"]?{re.escape(section)}['\"]?\s*\]")
        faults.append(f"line {number}: {_NO_SECTIONS}")
        # ConfigObj puts the following lines into the section; here they belong to the whole file.
        for key in values[section].scalars:
            values.setdefault(key, values[section][key])
        del values[section]
    return values


def _syntax(lines: list[str], fault: ConfigObjError) -> str:
    line = lines[fault.line_number - 1]
    if type(fault).__name__ == "DuplicateError":
        if line.lstrip().startswith("["):
            return _NO_SECTIONS
        key = line.partition("=")[0].strip().strip("'\"")
        if key in (*SPEC, _OLD_REFRESH):
            return f"{key}: it is set in line {_line_of_key(lines, key)} already: keep one of the lines"
        return "this key was set already: keep one of the lines"
    if "=" not in line:
        return _NO_KEY_AND_VALUE
    return "the value cannot be read: check its quotes and commas, and put a value with a comma or # into quotes"


def _rename_lock_refresh(lines: list[str], values: ConfigObj, faults: list[str]) -> list[str]:
    """Take `lock_refresh`, which Samba's helper reads, for `refresh`."""
    if _OLD_REFRESH not in values:
        return []
    where = _where(lines, _OLD_REFRESH)
    if "refresh" in values:
        faults.append(f"{where}: refresh is set as well: keep only refresh")
    else:
        # A message about its value finds it by its name here.
        at = _line_of_key(lines, _OLD_REFRESH) - 1
        lines[at] = lines[at].replace(_OLD_REFRESH, "refresh")
    values.setdefault("refresh", values.pop(_OLD_REFRESH))
    return [f"{where}: is taken for refresh, its name here"]


def _refuse_unknown(lines: list[str], values: ConfigObj, faults: list[str]) -> None:
    for key in list(values):
        if key in SPEC:
            continue
        del values[key]
        near = _nearest(key)
        if near:
            faults.append(f"{_where(lines, key)}: is not a known key; the nearest one is {near}")
        else:
            line = _line_of_key(lines, key)
            faults.append(f"line {line}: {_NO_KEY_AND_VALUE} with a known key: ctdb-etcd(7) has them all")


def _nearest(text: str) -> str:
    """The known key that is meant, or nothing: "password hunter2 = x" has `password hunter2` in the place of a key."""
    lower = text.lower()
    one_word = re.fullmatch("[a-z0-9_-]+", lower)
    if not one_word or (SECRET in lower and lower != SECRET):
        return ""
    from difflib import get_close_matches

    return "".join(get_close_matches(lower, SPEC, n=1, cutoff=0.7))


def _checked(lines: list[str], values: ConfigObj, faults: list[str]) -> dict[str, Any]:
    """All values in their types, those that are not in the file too; wrong ones are added to the faults."""
    result = {key: default for key, (_, default, _) in SPEC.items()}
    for key, value in values.items():
        check, _, allowed = SPEC[key]
        try:
            result[key] = check(value)
        except ValueError:
            faults.append(f"{_where(lines, key)}: {_shown(key, value)} is not allowed: it takes {allowed}")
    return result


def _shown(key: str, value: str | list[str]) -> str:
    """A value for a message, in one line."""
    text = ", ".join(value) if isinstance(value, list) else value
    # host = http://user:secret@etcd1; username = u, secret; username = "u", password = "secret"
    if key in ("username", SECRET) or "@" in text or SECRET in text.lower():
        return "the value"
    # In triple quotes it has several lines.
    return f"'{' '.join(text.splitlines())}'"


def _where(lines: list[str], key: str) -> str:
    number = _line_of_key(lines, key)
    return f"line {number}: {key}" if number else key


def _line_of(lines: list[str], pattern: str) -> int:
    """Its number; 0 if there is none."""
    return next((n for n, line in enumerate(lines, 1) if re.match(r"\s*" + pattern, line)), 0)


def _line_of_key(lines: list[str], key: str) -> int:
    return _line_of(lines, rf"['\"]?{re.escape(key)}['\"]?\s*=")
