# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of our helper beside Samba's own, and of api = auto, 3 and 2 where etcd serves the v2 API or does not."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing

import pytest

from tests.support import release
from tests.support.etcd import Etcd
from tests.support.helper import PROGRAM, Helper, successor_of, terminated_at_any_moment
from tests.support.machine import Port
from tests.support.proxy import Proxy
from tests.support.samba import Samba

# Where packages are built, python-etcd can be missing: Fedora, for example, no longer has it.
etcd_module = pytest.importorskip("etcd")

TTL = 9


@pytest.fixture
def samba(etcd_v2, tmp_path, lock_name):
    (tmp_path / "samba").mkdir()
    return Samba(tmp_path / "samba", lock_name, etcd_v2.endpoints[0])


@pytest.fixture
def conf(helper_conf, etcd_v2):
    return lambda api, **keys: helper_conf(**{"api": api, "host": etcd_v2.endpoints[0], **keys})


@pytest.fixture
def keys(etcd_v2, lock_name):
    """Return a function that returns the lock's keys in v2 and in v3."""
    return lambda: (
        etcd_v2.keys_v2(f"/_locks/_ctdb/{lock_name}"),
        etcd_v2.keys(f"/_locks/_ctdb/{lock_name}/"),
    )


@pytest.mark.slow
@pytest.mark.parametrize("api", ["auto", "2"])
def test_sambas_helper_and_ours_exclude_each_other_in_10_alternations(samba, conf, keys, api):
    for _ in range(5):
        with samba.helper() as theirs:
            assert theirs.status() == "0"
            with Helper(conf(api)) as ours:
                assert ours.status() == "1" and not ours.stderr
                ours.wait_exit()
            # Our helper left no key, so Samba's next refresh finds its own key as the lowest and only one.
            in_v2, in_v3 = keys()
            assert len(in_v2) == 1 and not in_v3
            theirs.terminate()
            theirs.wait_exit()
        with Helper(conf(api)) as ours:
            assert ours.status() == "0", ours.describe()
            with Helper(conf(api)) as contender:
                assert contender.status() == "1"
                contender.wait_exit()
            in_v2, in_v3 = keys()
            assert len(in_v2) == 1 and len(in_v3) == (api == "auto")
            ours.terminate()
            ours.wait_exit()
        assert keys() == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("api", ["auto", "2"])
def test_key_left_by_a_losing_samba_helper_blocks_us_until_it_expires(samba, conf, keys, api):
    with Helper(conf(api)) as ours:
        assert ours.status() == "0"
        with samba.helper() as theirs:
            assert theirs.status() == "1"
            theirs.wait_exit()
        left = time.monotonic()
        assert len(keys()[0]) == 2
        ours.terminate()
        ours.wait_exit()
    tries = 0
    while True:
        with Helper(conf(api)) as ours:
            tries += 1
            if ours.status() == "0":
                assert ours.first_byte - left < TTL + 8
                break
            # Our contender adds nothing to the queue and nothing to v3.
            ours.wait_exit()
            assert keys()[1] == []
    assert tries > 1


@pytest.mark.slow
def test_one_of_16_helpers_of_all_kinds_holds(samba, conf, etcd_v2, lock_name):
    for start in range(4):
        with ExitStack() as stack:
            kinds = ["samba", "auto", "2", "auto"]
            helpers = []
            for number in range(16):
                kind = kinds[(start + number) % 4]
                helper = samba.helper() if kind == "samba" else Helper(conf(kind))
                helpers.append(stack.enter_context(helper))
            answers = [helper.status() for helper in helpers]
            assert answers.count("0") == 1 and answers.count("1") == 15, [helper.describe() for helper in helpers]
            holder = helpers[answers.index("0")]
            holder.terminate()
            holder.wait_exit()
        # The keys that Samba's losing helpers leave would block the next round.
        etcd_v2.members[0].request("DELETE", f"/v2/keys/_locks/_ctdb/{lock_name}?recursive=true")


@pytest.mark.slow
def test_key_of_sambas_helper_back_in_front_of_ours_is_a_loss(conf, etcd_v2, lock_name, tmp_path):
    with Proxy(etcd_v2.endpoints[0]) as proxy, Samba(tmp_path, lock_name, proxy.endpoint).helper() as theirs:
        assert theirs.status() == "0"
        # Samba's helper renews with a plain write. The proxy makes it late.
        proxy.hold_next_request(b"PUT /v2/keys", every=True)
        with successor_of(conf("auto"), TTL - 3) as ours:
            proxy.release()
            released = time.monotonic()
            assert ours.wait_eof() - released < 6
            ours.wait_exit()
            assert "another key is in front of it" in ours.stderr


@pytest.mark.parametrize("api, key", [("auto", 0), ("auto", 1), ("2", 0)])
def test_loss_of_either_lock_ends_the_holder(conf, etcd_v2, keys, api, key):
    with Helper(conf(api)) as helper:
        assert helper.status() == "0"
        name = keys()[key][0]["key"]
        if key == 0:
            etcd_v2.members[0].request("DELETE", f"/v2/keys{name}")
        else:
            etcd_v2.delete(name)
        gone = time.monotonic()
        assert helper.wait_eof() - gone < 6
        helper.wait_exit()
        assert "its key is gone" in helper.stderr
        # The other lock does not wait for its lease's end.
        assert keys() == ([], [])


def test_contention_on_the_v2_lock_releases_the_v3_lock(samba, conf, keys, etcd_v2):
    with Proxy(etcd_v2.endpoints[0]) as proxy:
        proxy.hold_next_request(b"lease/grant")
        with Helper(conf("auto", host=proxy.endpoint, read_timeout=20)) as ours:
            # It has seen both locks free.
            proxy.wait_held()
            with samba.helper() as theirs:
                assert theirs.status() == "0"
                proxy.release()
                assert ours.status() == "1", ours.describe()
                ours.wait_exit()
                assert keys()[1] == []


def test_api_3_takes_no_part_in_the_v2_lock(samba, conf, keys):
    with samba.helper() as theirs, Helper(conf("3")) as ours:
        assert theirs.status() == ours.status() == "0"


@pytest.mark.slow
def test_sigterm_at_any_moment_leaves_neither_lock(conf, keys):
    for helper in terminated_at_any_moment(lambda: conf("auto"), 10, 10):
        assert keys() == ([], []), helper.describe()


def test_python_etcd_is_not_imported_if_v2_is_not_served(helper_conf, tmp_path):
    trace = tmp_path / "trace"
    with Helper(helper_conf(api="auto"), "-vv", strace=["-o", str(trace), "-e", "trace=openat"]) as helper:
        assert helper.status() == "0"
        assert "GET /v2/keys" in helper.stderr and "v2:" not in helper.stderr
        assert "dist-packages/configobj" in trace.read_text()
        assert "dist-packages/etcd" not in trace.read_text()


@pytest.mark.root
@pytest.mark.parametrize("api", ["auto", "2"])
def test_missing_python_etcd_is_reported_if_v2_is_served(conf, tmp_path, api):
    missing = tmp_path / "missing.py"
    missing.write_text("raise ImportError(\"No module named 'etcd'\")\n")
    script = f'mount --bind {missing} {etcd_module.__file__} && exec "$@"'
    hidden = ["--mount", "sh", "-c", script, "sh", PROGRAM, "-c", str(conf(api))]
    with Helper(None, *hidden, program="unshare") as helper:
        assert helper.status() == "3"
        helper.wait_exit()
        (line,) = helper.stderr.splitlines()
        assert "install python3-etcd" in line and "api = 3" in line


@pytest.mark.slow
def test_etcd_without_v2_and_api_2_is_refused_with_one_line(helper_conf):
    with Helper(helper_conf(api="2")) as helper:
        assert helper.status() == "3"
        helper.wait_exit()
        (line,) = helper.stderr.splitlines()
        assert "the v2 API is not served" in line and "api = 3" in line


@pytest.mark.slow
@pytest.mark.parametrize("api", ["auto", "2"])
def test_late_renewal_does_not_bring_back_our_key(etcd_v2, conf, keys, api):
    with Proxy(etcd_v2.endpoints[0]) as proxy, Helper(conf(api, host=proxy.endpoint)) as helper:
        assert helper.status() == "0"
        # Hold back the swap that renews the key until its time is over.
        proxy.hold_next_request(b"prevValue", every=True)
        helper.wait_eof(15)
        with successor_of(conf(api), 0) as successor:
            held = keys()[0]
            proxy.release()
            time.sleep(3)
            assert successor.alive and keys()[0] == held


@pytest.mark.v2
@pytest.mark.slow
def test_v2_switched_off_member_by_member_leaves_one_holder(helper_conf):
    """While v2 is switched off, the lock is lost at most once: when the last member loses v2."""
    with Etcd(3, release.v2_flags()) as etcd:
        conf = helper_conf(api="auto", host=etcd.endpoints)
        with ExitStack() as stack:
            holder = stack.enter_context(Helper(conf, "-v"))
            assert holder.status() == "0"
            for member in etcd.members:
                member.extra_args = []
                member.restart()
                etcd.wait_healthy()
                time.sleep(3)
                with Helper(conf) as contender:
                    if holder.alive:
                        assert contender.status() == "1"
                    else:
                        assert contender.status() == "0" and member is etcd.members[-1], holder.describe()
            with Helper(conf, "-v") as after:
                if not holder.alive:
                    assert after.status() == "0" and "(v2" not in after.stderr


def test_v2_counts_as_served_until_a_member_denies_it(conf, etcd_v2):
    with Proxy(etcd_v2.endpoints[0]) as proxy, closing(Port()) as dead, closing(Port()) as another:
        proxy.answer_with(500, b"", matching=b"/v2/keys")
        with Helper(conf("auto", host=[proxy.endpoint, dead.endpoint, another.endpoint], acquire_timeout=3)) as helper:
            assert helper.status() == "2", helper.describe()
            helper.wait_exit()
            assert "whether etcd serves the v2 API" in helper.stderr
