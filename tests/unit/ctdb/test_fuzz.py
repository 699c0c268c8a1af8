# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Fuzz test of testparm's answer: any answer gives a name or a known error."""

from __future__ import annotations

from types import SimpleNamespace

from ctdb_etcd.config import keys
from ctdb_etcd.ctdb import cluster_name
from ctdb_etcd.errors import Refused, Unavailable
from tests.support.fuzz import examples, given, st


@examples(250)
@given(
    st.one_of(st.just(0), st.integers(-64, 255)),
    st.one_of(st.text(max_size=80), st.text("ABC-.\n /", max_size=70)),
    st.one_of(st.text(max_size=80), st.text(max_size=80).map("Load smb config files from /nowhere/{}\n".format)),
)
def test_any_answer_of_testparm_gives_a_name_or_is_refused(status, out, err):
    command = SimpleNamespace(output=lambda waiter, deadline: (status, out, err))
    try:
        name = cluster_name.find(command, None, 0)
    except (Refused, Unavailable) as failure:
        assert "netbios_name" in str(failure)
    else:
        assert keys.path_component(name) == name
