# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Whatever testparm answers: a name, or one known error."""

from __future__ import annotations

from types import SimpleNamespace

from ctdb_etcd import identity
from ctdb_etcd.lock import Refused, Unavailable
from tests.support.fuzz import examples, given, st


@examples(250)
@given(
    st.one_of(st.just(0), st.integers(-64, 255)),
    st.one_of(st.text(max_size=80), st.text("ABC-.\n /", max_size=70)),
    st.one_of(st.text(max_size=80), st.text(max_size=80).map("Load smb config files from /nowhere/{}\n".format)),
)
def test_any_answer_of_testparm_is_a_name_or_refused(status, out, err):
    command = SimpleNamespace(output=lambda waiter: (status, out, err))
    try:
        name = identity.name_from(command, None)
    except (Refused, Unavailable) as failure:
        assert "netbios_name" in str(failure)
    else:
        assert identity.check_name(name) == name
