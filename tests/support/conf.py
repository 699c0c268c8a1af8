# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Parsing of a configuration file's text by the program."""

from __future__ import annotations

from typing import Union

import pytest

from ctdb_etcd.config import parse as config
from ctdb_etcd.errors import Refused


def parse(text: str) -> config.Config:
    """Return the configuration in the text."""
    return config.parse("the.conf", text.encode())


def refused(text: Union[str, bytes]) -> list[str]:
    """Return the lines of the error message for an invalid text."""
    with pytest.raises(Refused) as failure:
        config.parse("the.conf", text if isinstance(text, bytes) else text.encode())
    return str(failure.value).splitlines()
