# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of how the configuration file affects a holder."""

from __future__ import annotations

from tests.support.helper import Helper


def test_warnings_are_on_stderr_and_do_not_prevent_the_lock(helper_conf):
    with Helper(helper_conf(cert="/nowhere")) as helper:
        assert helper.status() == "0"
        (line,) = helper.stderr.splitlines()
        assert "cert: has no effect with protocol = http" in line
