# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of srv_domain with a real name server: good, dead and missing records, late answers and none."""

from __future__ import annotations

import collections
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from ctdb_etcd.client import srv
from tests.support import kinds, release
from tests.support.certs import Authority
from tests.support.etcd import Etcd
from tests.support.machine import wait_until
from tests.support.names import Names, black_hole
from tests.support.proxy import Proxy

pytestmark = pytest.mark.root


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


def port_of(etcd):
    return etcd.endpoints[0].split(":")[1]


def record(port, priority=0, weight=0, service="_etcd-client", target="m.test"):
    return f"srv-host={service}._tcp.cluster.test,{target},{port},{priority},{weight}"


HOST = "host-record=m.test,127.0.0.1"


def srv_conf(helper_conf, **keys):
    return helper_conf(host=None, srv_domain="cluster.test", **keys)


@pytest.mark.parametrize("service", ["_etcd-client", "_etcd"])
@pytest.mark.parametrize("api", kinds.APIS)
def test_srv_records_of_etcdctl_and_python_etcd_give_host_and_port(both, names, helper_conf, api, service):
    names.serve(record(port_of(both), service=service), HOST)
    conf = srv_conf(helper_conf, api=api)
    with names.helper(conf) as helper:
        assert helper.status() == "0"
        with names.helper(conf) as other:
            assert other.status() == "1"
        helper.terminate()
        helper.wait_exit()
        assert helper.stderr == ""


@pytest.mark.parametrize("api", kinds.APIS[:2])
def test_https_uses_the_ssl_record_and_verifies_its_target(names, helper_conf, tmp_path, api):
    pki = Authority(tmp_path)
    with Etcd(1, release.v2_flags(), tls=pki.issue("server", san="DNS:m.test")) as etcd:
        conf = srv_conf(helper_conf, protocol="https", ca_cert=pki.ca, api=api)
        names.serve(record(1), record(port_of(etcd), service="_etcd-client-ssl"), HOST)
        with names.helper(conf) as helper:
            assert helper.status() == "0"
        other = "host-record=other.test,127.0.0.1"
        names.serve(record(port_of(etcd), service="_etcd-client-ssl", target="other.test"), other)
        with names.helper(conf) as helper:
            assert helper.status() == "3"
            helper.wait_exit()
            assert "its certificate is not for other.test" in helper.stderr


def test_srv_records_are_ordered_by_priority_then_by_weight(etcd, names, helper_conf):
    with Proxy(etcd.endpoints[0]) as preferred, Proxy(etcd.endpoints[0]) as light, Proxy(etcd.endpoints[0]) as last:
        heavy = record(preferred.port, 10, 65535)
        names.serve(record(last.port, 20, 65535), record(light.port, 10, 0), heavy, HOST)
        for _ in range(5):
            with names.helper(srv_conf(helper_conf, api="3")) as helper:
                assert helper.status() == "0"
                helper.terminate()
                helper.wait_exit()
        # All endpoints are asked before the `0`, but the lock is taken at one.
        assert [proxy.seen().count("lease/grant") for proxy in (preferred, light, last)] == [5, 0, 0]


def test_srv_weights_share_the_load_in_proportion():
    records = [SimpleNamespace(priority=0, weight=weight, target=name) for name, weight in zip("abc", (3, 1, 0))]
    first = collections.Counter(min(records, key=srv._turn).target for _ in range(4000))
    assert 0.70 < first["a"] / 4000 < 0.80 and first["b"] > 600 and first["c"] < 100


@pytest.mark.parametrize("how", ["refuses", "is a black hole", "has no address"])
@pytest.mark.parametrize("api", kinds.APIS_OF_TWO[::2])
def test_dead_target_of_several_delays_only_briefly(both, names, helper_conf, how, api):
    with black_hole("127.0.0.1") as port:
        dead = {
            "refuses": record(1),
            "is a black hole": record(port),
            "has no address": record(1, target="nowhere.test"),
        }[how]
        names.serve(dead, record(port_of(both), 10), HOST)
        with names.helper(srv_conf(helper_conf, api=api, read_timeout=20)) as helper:
            assert helper.status() == "0"
            assert helper.answered_after < 10
            assert helper.stderr == ""


def test_silent_name_server_is_waited_for_until_the_deadline(names, helper_conf):
    names.fall_silent()
    with names.helper(srv_conf(helper_conf, acquire_timeout=5)) as helper:
        wait_until(lambda: helper.stderr, "a line after the first round")
        assert "srv_domain cluster.test: the name servers give no answer" in helper.stderr
        assert helper.status() == "2"
        helper.wait_exit()
        assert 4 < helper.answered_after < 9
    with names.helper(srv_conf(helper_conf, read_timeout=20)) as helper:
        time.sleep(1.5)
        helper.terminate()
        asked = time.monotonic()
        assert helper.wait_exit() - asked < 5 and helper.stdout == b""


def test_a_name_server_that_answers_late_still_gives_the_lock(etcd, names, helper_conf):
    names.fall_silent()
    with names.helper(srv_conf(helper_conf, api="3")) as helper:
        wait_until(lambda: helper.stderr, "a line after the first round")
        names.serve(record(port_of(etcd)), HOST)
        assert helper.status() == "0"


@pytest.mark.parametrize(
    "served", [[], ["srv-host=_etcd-client._tcp.cluster.test"], ["host-record=cluster.test,127.0.0.1"]]
)
def test_domain_without_records_is_named_and_tried_again(etcd, names, helper_conf, served):
    names.serve(*served)
    with names.helper(srv_conf(helper_conf, api="3")) as helper:
        wait_until(lambda: helper.stderr, "a line after the first round")
        expected = "there are no SRV records _etcd-client._tcp.cluster.test or _etcd._tcp.cluster.test"
        assert expected in helper.stderr
        names.serve(record(port_of(etcd)), HOST)
        assert helper.status() == "0"


@pytest.mark.slow
def test_a_member_that_moved_is_found_again_while_the_lock_is_held(etcd, names, helper_conf):
    with Proxy(etcd.endpoints[0]) as old, Proxy(etcd.endpoints[0]) as new:
        names.serve(record(old.port), HOST)
        with names.helper(srv_conf(helper_conf, api="3")) as helper:
            assert helper.status() == "0"
            names.serve(record(new.port), HOST)
            old.refuse()
            time.sleep(11)
            assert helper.alive, helper.describe()
            assert new.seen().requests


@pytest.mark.slow
def test_a_holder_needs_no_name_server(both, names, helper_conf, lock_name):
    with Proxy(both.endpoints[0]) as proxy, ExitStack() as stack:
        names.serve(record(proxy.port), HOST)
        confs = [srv_conf(helper_conf, api=api, netbios_name=f"{lock_name}.{api}") for api in ("3", "auto")]
        helpers = [stack.enter_context(names.helper(conf)) for conf in confs]
        assert [helper.status() for helper in helpers] == ["0", "0"]
        names.fall_silent()
        time.sleep(3)
        proxy.reset()
        time.sleep(8)
        assert all(helper.alive for helper in helpers), [helper.describe() for helper in helpers]
        proxy.refuse()
        time.sleep(3)
        proxy.forward()
        time.sleep(9)
        assert all(helper.alive for helper in helpers), [helper.describe() for helper in helpers]


def test_host_beside_srv_domain_causes_a_warning(etcd, names, helper_conf):
    names.serve(record(port_of(etcd)), HOST)
    with names.helper(helper_conf(host="192.0.2.1", srv_domain="cluster.test", api="3")) as helper:
        assert helper.status() == "0"
        (line,) = helper.stderr.splitlines()
        assert "host: has no effect with srv_domain" in line


def test_missing_dnspython_is_named_and_only_srv_domain_needs_it(etcd, names, helper_conf, tmp_path):
    names.serve(record(port_of(etcd)), HOST)
    (tmp_path / "empty").mkdir()
    names.run("mount", "--bind", str(tmp_path / "empty"), srv_package())
    with names.helper(srv_conf(helper_conf, api="3")) as helper:
        assert helper.status() == "3"
        helper.wait_exit()
        assert "install python3-dnspython" in helper.stderr
    with names.helper(helper_conf(api="3")) as helper:
        assert helper.status() == "0"


def srv_package():
    dns = pytest.importorskip("dns")
    return str(dns.__path__[0])
