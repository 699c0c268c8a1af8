# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The text of a file as the program reads it."""

from __future__ import annotations

from typing import Union

import pytest

from ctdb_etcd.config import file as config
from ctdb_etcd.errors import Refused


def parse(text: str) -> config.Config:
    """The configuration that the text means."""
    return config.parse("the.conf", text.encode())


def refused(text: Union[str, bytes]) -> list[str]:
    """The lines of the refusal of a wrong text."""
    with pytest.raises(Refused) as failure:
        config.parse("the.conf", text if isinstance(text, bytes) else text.encode())
    return str(failure.value).splitlines()
