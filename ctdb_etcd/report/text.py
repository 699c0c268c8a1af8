# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The reports of --status and --check as text for people.

The first line holds all that a monitoring system shows. No text from etcd can move the cursor.
"""

from __future__ import annotations

from typing import Any

from ..log import printable
from .status import who

_VERDICTS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_LEVELS = {"ok": "ok", "warning": "WARNING", "fault": "FAULT"}


def status(report: dict[str, Any]) -> str:
    """The text of a report of status.Status."""
    lines = [f"{_VERDICTS[report['exit']]}: {_plain(report['summary'])}"]
    lines += [_field("problem", text) for text in report["problems"] if text not in report["summary"]]
    if report["lock"]:
        lock = report["lock"]
        lines.append(_field("lock", f"{lock['path']}, api = {lock['api']}, name from {lock['name_from']}"))
    if report["holder"]:
        lines += [_field("holder" if at == 0 else "", text) for at, text in enumerate(_key(report["holder"]))]
        if report["stale"]:
            lines.append(_field("", "this is what one member remembers: it may be old"))
    for at, key in enumerate(report["queue"], 1):
        lines.append(_field("queue" if at == 1 else "", f"{at}. " + "; ".join(_key(key))))
    lines += _endpoints(report["endpoints"])
    return "\n".join(lines) + "\n"


def check(report: dict[str, Any]) -> str:
    """The text of a report of check.Check."""
    width = max((len(item["item"]) for item in report["items"]), default=0)
    lines = []
    for item in report["items"]:
        lines.append(f"{_LEVELS[item['level']].ljust(7)}  {item['item'].ljust(width)}  {_plain(item['text'])}")
    lines.append(report["summary"])
    return "\n".join(lines) + "\n"


def _key(key: dict[str, Any]) -> list[str]:
    lines = [who(key)]
    if key["since"]:
        lines.append(f"since {key['since']}, {_duration(key['age'])} ago, by version {key['version']}")
    left = "lease without end" if key["lease"] == "0" else "lease of unknown end"
    if key["lease_left"] is not None:
        left = f"lease {key['lease_left']} s left"
    if key["lease_ttl"]:
        left += f" of {key['lease_ttl']} s"
    apis = " and ".join(f"v{api}" for api in key["apis"])
    return [*lines, f"{left}, revision {key['revision']}, in {apis}"]


def _endpoints(endpoints: list[dict[str, Any]]) -> list[str]:
    if not endpoints:
        return []
    rows = [_row(endpoint) for endpoint in endpoints]
    # An error, however long, takes the place of everything that is unknown because of it.
    aligned = [row for row in rows if len(row) > 3] or rows
    widths = [max(map(len, column)) for column in zip(*aligned)]
    widths[:2] = (max(len(row[at]) for row in rows) for at in (0, 1))
    lines = []
    for at, (row, endpoint) in enumerate(zip(rows, endpoints)):
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        lines.append(_field("endpoints" if at == 0 else "", "") + "  ".join(cells).rstrip())
        for text in (endpoint["error"], endpoint["note"]):
            if text and endpoint["reachable"]:
                lines.append(_field("", "  " + text))
    return lines


def _row(endpoint: dict[str, Any]) -> tuple[str, ...]:
    if not endpoint["reachable"]:
        return _plain(endpoint["address"]), "FAULT", _plain(endpoint["error"])
    offset = endpoint["clock_offset"]
    return (
        _plain(endpoint["address"]),
        "ok" if endpoint["healthy"] else "FAULT",
        _plain(f"etcd {endpoint['version'] or '?'}"),
        {True: "leader", False: "follower", None: ""}[endpoint["leader"]],
        f"{endpoint['latency'] * 1000:.1f} ms",
        "" if offset is None else "clock as ours" if not offset else f"clock {offset:+g} s",
        {True: "v2 served", False: "no v2", None: ""}[endpoint["v2"]],
        _plain("alarm " + " ".join(endpoint["alarms"])) if endpoint["alarms"] else "",
    )


def _field(name: str, text: str) -> str:
    return name.ljust(11) + _plain(text)


def _duration(seconds: float) -> str:
    left = max(0, int(seconds))
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if left >= 2 * unit:
            return f"{left // unit} {name}"
    return f"{left} s"


def _plain(text: str) -> str:
    # A bar would end a monitoring system's text.
    return printable(text).replace("|", "/")
