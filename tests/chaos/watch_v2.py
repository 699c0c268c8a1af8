# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Follows the locks' keys in one member's v2 store, and prints their changes in the format of `etcdctl watch -w json`.

    python3 -m tests.chaos.watch_v2 HOST INDEX      (from that index on, until it is killed)

It prints the creation and removal of keys, not their renewal. It puts "v2:" before the keys' names. A member keeps the
last 1000 events; a watch that falls further behind continues from the current index.
"""

from __future__ import annotations

import base64
import http.client
import json
import sys
import time
from typing import Any, Optional

# Not a directory above it: etcd does not report hidden keys (names that begin with _) below the watched key.
DIRECTORY = "/_locks/_ctdb/HISTORY"

_GONE = ("delete", "expire", "compareAndDelete")
_CLEARED = 401  # etcd's error code: the index is older than all events that it keeps


def wait(connection: http.client.HTTPConnection, index: int) -> tuple[Optional[dict[str, Any]], int]:
    """Return the next event from this index on (None: there was none), and the index to continue from."""
    connection.request("GET", f"/v2/keys{DIRECTORY}?wait=true&recursive=true&waitIndex={index}")
    answer = connection.getresponse()
    event = json.loads(answer.read())
    if "errorCode" in event:
        return None, int(answer.headers["X-Etcd-Index"]) + 1 if event["errorCode"] == _CLEARED else index
    return event, event["node"]["modifiedIndex"] + 1


def show(event: dict[str, Any]) -> None:
    """Print the event if it creates or removes a key."""
    node, gone = event["node"], event["action"] in _GONE
    if event.get("prevNode", {}).get("dir") or node.get("dir") or not gone and "prevNode" in event:
        return
    key, value = (base64.b64encode(text.encode()).decode() for text in ("v2:" + node["key"], node.get("value", "")))
    kv = {"key": key, "value": value, "mod_revision": node["modifiedIndex"]}
    print(json.dumps({"Events": [{"type": int(gone), "kv": kv}]}), flush=True)


def main() -> None:
    host, index = sys.argv[1], int(sys.argv[2])
    connection = http.client.HTTPConnection(host, 2379)
    while True:
        try:
            event, index = wait(connection, index)
            if event:
                show(event)
        except (OSError, http.client.HTTPException, ValueError):
            connection.close()
            time.sleep(0.1)


if __name__ == "__main__":
    main()
