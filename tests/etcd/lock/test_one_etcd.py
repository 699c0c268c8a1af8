# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the check that etcd is one and shared by all nodes: before `0` and in --check, never on the way to `1`."""

from __future__ import annotations

import contextlib
import re
import shutil

import pytest

from tests.support import kinds, release
from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.login import PASSWORD, QUOTED, add_user, with_login
from tests.support.machine import wait_until
from tests.support.proxy import Proxy
from tests.support.view import View

APIS = pytest.mark.parametrize("api", kinds.APIS)
ELSEWHERE = "198.51.100.1"


@pytest.fixture
def nodes(tmp_path):
    """Return `nodes(address, ...)`, which returns the environment of a CTDB whose nodes file has these addresses."""

    def write(*addresses):
        base = tmp_path / "ctdb"
        base.mkdir(exist_ok=True)
        (base / "nodes").write_text("".join(f"{address}\n" for address in addresses))
        return {"CTDB_BASE": str(base)}

    return write


def ends(conf, *args, **options):
    """Return the character and the stderr of a helper that does not keep the lock."""
    with Helper(conf, *args, **options) as helper:
        character = helper.status()
        helper.wait_exit()
        return character, helper.stderr


def takes(conf, **options):
    with Helper(conf, **options) as helper:
        assert helper.status() == "0", helper.describe()
        helper.terminate()
        helper.wait_exit()
        assert helper.stderr == ""


def fault_of_check(conf, **env):
    """Return the text of the only fault that --check reports."""
    view = View(conf, "--check", "--json", **env)
    (fault,) = [item for item in view.json["items"] if item["level"] == "fault"]
    assert view.code == 1 and fault["item"] == "cluster", view.text
    return fault["text"]


def cluster_id(etcd):
    return f"{int(etcd.members[0].request('POST', '/v3/maintenance/status')['header']['cluster_id']):x}"


# An etcd that all nodes share


@APIS
def test_etcd_of_this_machine_alone_is_refused_if_others_take_part(
    etcd_v2, helper_conf, nodes, lock_name, api
):
    conf, env = helper_conf(host=etcd_v2.endpoints[0], api=api), nodes("127.0.0.1", ELSEWHERE)
    character, stderr = ends(conf, env=env)
    assert character == "3" and len(stderr.splitlines()) == 1, stderr
    assert f"{ELSEWHERE} (in {env['CTDB_BASE']}/nodes)" in stderr and "set host" in stderr
    assert fault_of_check(conf, **env) in stderr
    path = f"/_locks/_ctdb/{lock_name}"
    assert etcd_v2.keys(path) == [] and (not release.serves_v2() or etcd_v2.keys_v2(path) == [])


@pytest.mark.parametrize("addresses", [[], ["127.0.0.1"], ["127.0.23.1", "127.0.23.2", "127.0.23.3", f"#{ELSEWHERE}"]])
def test_a_cluster_on_one_machine_may_use_the_etcd_of_that_machine(etcd, helper_conf, nodes, addresses):
    takes(helper_conf(), env=nodes(*addresses))
    assert View(helper_conf(), "--check", **nodes(*addresses)).code == 0


def test_etcd_of_several_members_beside_the_nodes_is_shared(etcd3, helper_conf, nodes):
    env = nodes("127.0.0.1", ELSEWHERE)
    takes(helper_conf(host=etcd3.endpoints[0]), env=env)
    assert View(helper_conf(host=etcd3.endpoints[0]), "--check", **env).code == 0


@pytest.mark.parametrize("how", ["through a proxy", "at its own port"])
def test_etcd_that_others_can_reach_is_shared_whatever_its_route(helper_conf, nodes, how):
    with Etcd(1, ["--advertise-client-urls", "http://etcd.example:2379"]) as etcd, Proxy(etcd.endpoints[0]) as proxy:
        host = proxy.endpoint if how == "through a proxy" else etcd.endpoints[0]
        takes(helper_conf(host=host), env=nodes("127.0.0.1", ELSEWHERE))


@pytest.mark.parametrize("version", ["", "3.6.11", "3.7"])
def test_etcd_of_this_machine_is_recognized_with_a_login(built_etcd, helper_conf, nodes, version):
    with with_login(["--bcrypt-cost=4"], program=version and built_etcd(version)) as etcd:
        user = add_user(etcd, "GUARDED")
        keys = {"host": etcd.endpoints[0], "username": user, "password": QUOTED, "netbios_name": "GUARDED"}
        conf = helper_conf(**keys)
        conf.chmod(0o600)
        takes(conf, env=nodes("127.0.0.1"))
        character, stderr = ends(conf, env=nodes("127.0.0.1", ELSEWHERE))
        assert character == "3" and "set host" in stderr and PASSWORD not in stderr


@APIS
def test_contention_sends_no_further_request(etcd_v2, helper_conf, nodes, api):
    conf = helper_conf(host=etcd_v2.endpoints[0], api=api)
    with Helper(conf) as holder:
        assert holder.status() == "0"
        character, stderr = ends(conf, "-vv", env=nodes("127.0.0.1", ELSEWHERE))
        assert character == "1" and "members" not in stderr and "member/list" not in stderr
        assert len([line for line in stderr.splitlines() if " in 0." in line]) == 1


# One etcd


@pytest.fixture(scope="module")
def two():
    """Two clusters of one member each, with both APIs."""
    with Etcd(1, release.v2_flags()) as one, Etcd(1, release.v2_flags()) as other:
        yield one, other


@APIS
@pytest.mark.parametrize("order", [1, -1])
def test_endpoints_of_two_clusters_are_refused_and_listed_by_cluster(two, helper_conf, lock_name, api, order):
    one, other = two[::order]
    conf = helper_conf(host=[one.endpoints[0], other.endpoints[0]], api=api)
    character, stderr = ends(conf)
    assert character == "3" and len(stderr.splitlines()) == 1, stderr
    first, second = (f"{etcd.endpoints[0]} of cluster {cluster_id(etcd)}" for etcd in (one, other))
    assert f": {first}; {second}: check host" in stderr
    assert fault_of_check(conf) in stderr
    path = f"/_locks/_ctdb/{lock_name}"
    assert one.keys(path) == other.keys(path) == []
    assert one.keys_v2(path) == other.keys_v2(path) == []


@APIS
def test_contention_at_the_first_of_two_clusters_gives_1(two, helper_conf, api):
    one, other = two
    with Helper(helper_conf(host=one.endpoints[0], api=api)) as holder:
        assert holder.status() == "0"
        conf = helper_conf(host=[one.endpoints[0], other.endpoints[0]], api=api)
        character, stderr = ends(conf, "-vv")
        assert character == "1" and other.endpoints[0] not in stderr
        # --check reads at the endpoint that the helper asks, whatever else is there.
        view = View(conf, "--check", "--json")
        (read,) = [item for item in view.json["items"] if item["item"] == f"v{'2' if api == '2' else '3'} read"]
        assert read["text"].endswith("would answer 1") and view.levels()["cluster"] == "fault"


@pytest.mark.parametrize("api", ["3", "auto"])
def test_separate_etcds_with_the_same_id_are_refused(helper_conf, lock_name, api):
    # The default flags give all such etcds the same cluster ID.
    same = ["--initial-cluster", "m1=http://localhost:2380", "--initial-advertise-peer-urls", "http://localhost:2380"]
    with Etcd(1, same) as one, Etcd(1, same) as other:
        assert cluster_id(one) == cluster_id(other)
        conf = helper_conf(host=[one.endpoints[0], other.endpoints[0]], api=api)
        character, stderr = ends(conf)
        assert character == "3" and "separate etcds" in stderr, stderr
        assert fault_of_check(conf) in stderr
        assert one.keys(f"/_locks/_ctdb/{lock_name}") == other.keys(f"/_locks/_ctdb/{lock_name}") == []


@pytest.mark.slow
def test_removed_member_started_by_itself_is_refused(helper_conf):
    with Etcd(3) as etcd:
        conf = helper_conf(host=etcd.endpoints)
        takes(conf)
        leader = etcd.leader()
        stray = next(member for member in etcd.members if member is not leader)
        number = f"{int(stray.ids()[0]):x}"
        # Killed first: otherwise etcdctl could ask this member, which stops when it is removed.
        stray.kill()

        def removed():
            # etcd refuses this in the cluster's first 5 s. A removal without an answer may have succeeded.
            with contextlib.suppress(AssertionError):
                etcd.etcdctl("member", "remove", number)
            with contextlib.suppress(AssertionError):
                return number not in etcd.etcdctl("member", "list")

        wait_until(removed, "the removal of a member", timeout=60, pause=0.5)
        shutil.rmtree(stray.data)
        stray.extra_args += ["--initial-cluster", f"{stray.name}={stray.peer_url}"]
        stray.start()
        etcd.wait_healthy()
        character, stderr = ends(conf)
        # This member is alone in its cluster. It is listed first or last, depending on the endpoint in use.
        assert character == "3" and re.search(rf"[:;] {stray.endpoint} of cluster ", stderr), stderr
        assert fault_of_check(conf) in stderr


def test_all_members_are_queried_but_only_before_0(etcd3, helper_conf):
    conf = helper_conf(host=etcd3.endpoints, api="3")
    with Helper(conf, "-vv") as holder:
        assert holder.status() == "0"
        wait_until(lambda: "holding" in holder.stderr, "the line about the lock")
        asked = [line for line in holder.stderr.partition("holding")[0].splitlines() if " kv/range: 200 from " in line]
        assert {endpoint for endpoint in etcd3.endpoints for line in asked if endpoint in line} == set(etcd3.endpoints)
        character, stderr = ends(conf, "-vv")
        assert character == "1" and etcd3.endpoints[1] not in stderr and etcd3.endpoints[2] not in stderr


@pytest.mark.slow
@pytest.mark.parametrize("how, seconds", [("kill", 0), ("pause", 0.5)])
def test_dead_member_delays_by_far_less_than_read_timeout(etcd3, helper_conf, how, seconds):
    getattr(etcd3.members[2], how)()
    etcd3.leader()
    with Helper(helper_conf(host=etcd3.endpoints, api="3", read_timeout=20), "-v") as helper:
        assert helper.status() == "0", helper.describe()
        assert seconds <= helper.answered_after < 10
        wait_until(lambda: "holding" in helper.stderr, "the line about the lock")
        assert f"{etcd3.endpoints[2]} is not known to be of the same etcd cluster" in helper.stderr


@pytest.mark.parametrize("api", kinds.APIS_OF_TWO)
def test_sigterm_while_other_endpoints_are_queried_leaves_nothing(two, helper_conf, lock_name, api):
    one, _ = two
    path = f"/_locks/_ctdb/{lock_name}"
    with Proxy(one.endpoints[0]) as silent:
        # An endpoint of the same cluster that does not answer the query for its cluster.
        silent.freeze()
        with Helper(helper_conf(host=[one.endpoints[0], silent.endpoint], api=api)) as helper:
            keys = one.keys if api != "2" else one.keys_v2
            wait_until(lambda: keys(path), "the key", pause=0.001)
            helper.terminate()
            helper.wait_exit()
        assert keys(path) == []


# v2 comes back


@pytest.mark.v2
@pytest.mark.slow
def test_holder_of_v3_only_ends_when_etcd_serves_v2_again(helper_conf, lock_name):
    with Etcd(1) as etcd:
        (member,) = etcd.members
        with Helper(helper_conf(host=etcd.endpoints)) as holder:
            assert holder.status() == "0"
            member.restart()
            etcd.wait_healthy()
            wait_until(lambda: "answers again" in holder.stderr or holder.returncode is not None, "the connection")
            assert holder.alive, holder.describe()
            member.extra_args += release.v2_flags()
            member.restart()
            holder.wait_exit(10)
            assert f"{member.endpoint} now serves the v2 API" in holder.stderr, holder.describe()
            # The next holder takes both locks and need not wait for a lease to end.
            assert etcd.keys(f"/_locks/_ctdb/{lock_name}") == []


@pytest.mark.v2
def test_reports_warn_of_members_that_differ_in_v2(helper_conf):
    with Etcd(3) as etcd:
        etcd.members[0].extra_args += release.v2_flags()
        etcd.members[0].restart()
        etcd.wait_healthy()
        conf = helper_conf(host=etcd.endpoints)
        with Helper(helper_conf(host=etcd.endpoints, api="3")) as holder:
            assert holder.status() == "0"
            status, check = (View(conf, command, "--json") for command in ("--status", "--check"))
    differ = f"{etcd_list(status)[0]} serves the v2 API, {', '.join(etcd_list(status)[1:])} does not"
    assert status.code == 1 and any(differ in problem for problem in status.json["problems"]), status.text
    assert any("holds the lock in v3 only: its helper has api = 3" in problem for problem in status.json["problems"])
    assert check.levels()["v2"] == "warning" and differ in check.text


def etcd_list(status):
    return [endpoint["address"] for endpoint in status.json["endpoints"]]


def test_status_is_critical_if_endpoints_are_of_two_clusters(two, helper_conf):
    status = View(helper_conf(host=[etcd.endpoints[0] for etcd in two]), "--status", "--json")
    assert status.code == 2 and status.json["summary"].startswith("the endpoints are of different etcd clusters")
