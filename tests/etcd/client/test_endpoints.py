# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of finding etcd: addresses of all kinds, names that do not resolve, other clusters at a known address."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from tests.support import kinds, release
from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.machine import wait_until
from tests.support.names import Names, Relay, black_hole
from tests.support.proxy import Proxy
from tests.support.view import View

APIS = pytest.mark.parametrize("api", kinds.APIS)
APIS_OF_TWO = pytest.mark.parametrize("api", kinds.APIS_OF_TWO)


@pytest.fixture
def names(tmp_path):
    (tmp_path / "etc").mkdir()
    with Names(tmp_path / "etc") as names:
        yield names


@pytest.fixture(scope="module")
def both():
    """One etcd with both APIs."""
    with Etcd(1, release.v2_flags()) as etcd:
        yield etcd


@pytest.fixture(scope="module")
def stranger():
    """Another cluster with both APIs."""
    with Etcd(1, release.v2_flags()) as etcd:
        yield etcd


def port_of(etcd):
    return etcd.endpoints[0].split(":")[1]


def cluster_id(etcd):
    return f"{int(etcd.members[0].request('POST', '/v3/maintenance/status')['header']['cluster_id']):016X}"


@APIS
def test_an_ipv6_endpoint_works_with_and_without_a_port_of_its_own(both, helper_conf, api):
    with Relay(both.endpoints[0], "::1") as relay:
        for keys in {"host": relay.endpoint}, {"host": "::1", "port": relay.port}:
            with Helper(helper_conf(api=api, **keys)) as helper:
                assert helper.status() == "0", helper.describe()
                helper.terminate()
                helper.wait_exit()
                assert helper.stderr == ""


@pytest.fixture
def without_sockets(tmp_path):
    """Return strace(1) options that let no socket be created, as when all descriptors are used up."""
    return ["-f", "-o", str(tmp_path / "trace"), "-e", "trace=socket", "-e", "inject=socket:error=EMFILE"]


@APIS
def test_start_without_free_descriptors_is_idle_until_its_deadline(both, helper_conf, tmp_path, without_sockets, api):
    conf = helper_conf(host=both.endpoints[0], api=api, acquire_timeout=2)
    with Helper(conf, strace=without_sockets) as helper:
        assert helper.status() == "2"
        helper.wait_exit()
        assert 1.5 < helper.answered_after < 10
        assert "Too many open files" in helper.stderr
    # Each round makes only a few attempts.
    assert (tmp_path / "trace").read_text().count("EMFILE") < 50


def test_start_without_free_descriptors_ends_on_sigterm(both, helper_conf, without_sockets):
    conf = helper_conf(host=both.endpoints[0])
    with Helper(conf, strace=without_sockets) as helper:
        wait_until(lambda: "no etcd endpoint answers" in helper.stderr, "a line after the first round")
        helper.terminate()
        asked = time.monotonic()
        assert helper.wait_exit() - asked < 10


@pytest.mark.root
@APIS
@pytest.mark.parametrize("how", ["refuses", "is a black hole"])
def test_dead_address_of_a_name_delays_only_briefly(both, names, helper_conf, api, how):
    with Relay(both.endpoints[0], "127.78.0.1") as relay, ExitStack() as stack:
        # glibc sorts 127.0.0.1 before all others of its network and keeps their order.
        dead = ["127.0.0.1", "127.78.0.2"]
        names.hosts("".join(f"{address} m.test\n" for address in ["127.78.0.1", *dead]))
        if how == "is a black hole":
            for address in dead:
                stack.enter_context(black_hole(address, relay.port))
        with names.helper(helper_conf(host=f"m.test:{relay.port}", api=api, read_timeout=20)) as helper:
            assert helper.status() == "0"
            assert helper.answered_after < 10
            assert helper.stderr == ""


@pytest.mark.root
@APIS_OF_TWO
@pytest.mark.parametrize("first", ["the name", "the number"])
def test_a_name_server_that_hangs_for_one_endpoint_does_not_delay_another(both, names, helper_conf, api, first):
    names.fall_silent()
    hosts = ["m.test:1", both.endpoints[0]]
    hosts = hosts if first == "the name" else hosts[::-1]
    # With v2, the endpoints are tried one after the other.
    with names.helper(helper_conf(host=hosts, api=api, read_timeout=3 if api == "2" else 20)) as helper:
        assert helper.status() == "0"
        assert helper.answered_after < 10
        assert helper.stderr == ""


@pytest.mark.root
def test_a_name_server_that_hangs_is_waited_for_until_the_deadline(names, helper_conf):
    names.fall_silent()
    with names.helper(helper_conf(host="m.test", acquire_timeout=5)) as helper:
        wait_until(lambda: helper.stderr, "a line after the first round")
        assert "m.test:2379: the name servers give no answer" in helper.stderr
        assert helper.status() == "2"
        helper.wait_exit()
        assert 4 < helper.answered_after < 9
    with names.helper(helper_conf(host="m.test", read_timeout=20)) as helper:
        time.sleep(1.5)
        helper.terminate()
        asked = time.monotonic()
        assert helper.wait_exit() - asked < 5


@pytest.mark.root
@pytest.mark.slow
def test_dns_answer_slower_than_read_timeout_still_counts(etcd, names, helper_conf):
    names.serve("host-record=m.test,127.0.0.1", delay=2.5)
    conf = helper_conf(host=f"m.test:{port_of(etcd)}", read_timeout=1, api="3")
    with names.helper(conf) as helper:
        assert helper.status() == "0"


@pytest.mark.root
def test_an_unknown_name_is_reported_and_another_endpoint_used(etcd, names, helper_conf):
    names.serve()
    with names.helper(helper_conf(host=["m.test", etcd.endpoints[0]], api="3")) as helper:
        assert helper.status() == "0"
    with names.helper(helper_conf(host="m.test")) as helper:
        wait_until(lambda: helper.stderr, "a line after the first round")
        assert "m.test:2379: Name or service not known" in helper.stderr


@pytest.mark.v2
@pytest.mark.root
def test_endpoint_with_unknown_name_may_serve_v2_unless_most_do_not(both, etcd, names, helper_conf):
    names.serve()
    # Nothing listens at the last endpoint. Its refusal counts as an answer.
    two, three = ["m.test", etcd.endpoints[0]], ["m.test", etcd.endpoints[0], "127.0.0.1:1"]
    conf = helper_conf(host=two, acquire_timeout=3)
    with names.helper(conf) as helper:
        assert helper.status() == "2"
        helper.wait_exit()
        first, last = helper.stderr.splitlines()
        assert "too few endpoints answer to know whether etcd serves the v2 API, still trying: m.test:" in first
        assert "or set api = 3 once no node runs Samba's helper" in last
    view = View(conf, "--check", "--json", enter=names.enter)
    assert view.code == 1 and view.levels()["v2"] == "fault" and "set api = 3" in view.text
    for hosts in three, ["m.test", both.endpoints[0]]:
        conf = helper_conf(host=hosts, netbios_name="A" if hosts is three else "B")
        assert View(conf, "--check", enter=names.enter).code == 0
        with names.helper(conf) as helper:
            assert helper.status() == "0", helper.describe()


@APIS
def test_a_proxy_in_the_environment_is_ignored(both, helper_conf, api):
    nobody = "http://127.0.0.1:1"
    env = {name: nobody for base in ("http_proxy", "https_proxy", "all_proxy") for name in (base, base.upper())}
    with Helper(helper_conf(host=both.endpoints[0], api=api), env=env) as helper:
        assert helper.status() == "0"
        assert helper.stderr == ""


@APIS
def test_expected_cluster_gives_the_lock_and_another_is_refused(both, stranger, helper_conf, api):
    keys = {"expected_cluster_id": cluster_id(both), "api": api}
    with Helper(helper_conf(host=both.endpoints[0], **keys)) as helper:
        assert helper.status() == "0", helper.describe()
        helper.terminate()
        helper.wait_exit()
    with Helper(helper_conf(host=stranger.endpoints[0], **keys)) as helper:
        assert helper.status() == "3"
        assert helper.answered_after < 10
        helper.wait_exit()
        (line,) = helper.stderr.splitlines()
        ours, theirs = (cluster_id(etcd).lower().lstrip("0") for etcd in (both, stranger))
        assert ours in line and theirs in line and "expected_cluster_id" in line
    with Helper(helper_conf(host=[stranger.endpoints[0], both.endpoints[0]], **keys)) as helper:
        # The first one is skipped, but its cluster is asked for before the lock is held.
        assert helper.status() == "3"
        helper.wait_exit()
        (line,) = helper.stderr.splitlines()
        assert "the endpoints are of different etcd clusters" in line and ours in line and theirs in line


@APIS
def test_a_holder_stays_with_the_cluster_of_its_lease(both, stranger, helper_conf, api):
    with Proxy(both.endpoints[0]) as ours, Proxy(stranger.endpoints[0]) as theirs:
        theirs.refuse()
        with Helper(helper_conf(host=[ours.endpoint, theirs.endpoint], api=api)) as helper:
            assert helper.status() == "0", helper.describe()
            theirs.forward()
            ours.refuse()
            wait_until(lambda: "cluster" in helper.stderr, "a line about the other cluster")
            assert cluster_id(stranger).lower().lstrip("0") in helper.stderr
            ours.forward()
            wait_until(lambda: "answers again" in helper.stderr, "the end of the outage")
            assert helper.alive and "lost" not in helper.stderr


@APIS
def test_another_cluster_at_the_address_is_a_loss_at_the_next_refresh(both, stranger, helper_conf, api):
    with Relay(both.endpoints[0]) as relay:
        conf = helper_conf(host=relay.endpoint, expected_cluster_id=cluster_id(both), api=api)
        with Helper(conf) as helper:
            assert helper.status() == "0"
            relay.switch(stranger.endpoints[0])
            switched = time.monotonic()
            assert helper.wait_eof() - switched < 7
            helper.wait_exit()
            assert "lost " in helper.stderr and "this is not the etcd that granted it" in helper.stderr


@APIS_OF_TWO
def test_one_endpoint_is_waited_for_no_longer_than_read_timeout(both, helper_conf, api):
    with Proxy(both.endpoints[0]) as proxy:
        proxy.freeze()
        hosts = [proxy.endpoint, both.endpoints[0]]
        with Helper(helper_conf(host=hosts, read_timeout=0.5, api=api)) as helper:
            assert helper.status() == "0"
            # Half of the time left would be 10 s.
            assert helper.answered_after < 9


@pytest.mark.v2
@pytest.mark.parametrize("allowed", [True, False])
def test_redirect_of_the_v2_api_is_followed_only_with_allow_redirect(both, helper_conf, lock_name, allowed):
    path = f"/v2/keys/_locks/_ctdb/{lock_name}"
    with Proxy(both.endpoints[0]) as proxy:
        query = "?recursive=true&sorted=true&quorum=true"
        elsewhere = {"Location": f"http://{both.endpoints[0]}{path}{query}"}
        proxy.answer_with(307, b"", matching=b"GET ", headers=elsewhere)
        keys = {"allow_redirect": allowed, "acquire_timeout": 20 if allowed else 3}
        with Helper(helper_conf(host=proxy.endpoint, api="2", **keys)) as helper:
            assert helper.status() == ("0" if allowed else "2"), helper.describe()


def test_v3_api_does_not_follow_a_redirect(both, helper_conf):
    with Proxy(both.endpoints[0]) as proxy:
        proxy.answer_with(307, b"", headers={"Location": f"http://{both.endpoints[0]}/v3/kv/range"})
        with Helper(helper_conf(host=proxy.endpoint, api="3", acquire_timeout=2)) as helper:
            assert helper.status() == "2"
            helper.wait_exit()
            assert "HTTP status 307" in helper.stderr


@pytest.mark.v2
def test_version_prefix_sets_the_path_of_the_v2_api(both, helper_conf):
    with Helper(helper_conf(host=both.endpoints[0], api="2", version_prefix="/v2")) as helper:
        assert helper.status() == "0"
    with Helper(helper_conf(host=both.endpoints[0], api="2", version_prefix="/nowhere")) as helper:
        assert helper.status() == "3"
        helper.wait_exit()
        assert "the v2 API is not served" in helper.stderr
