# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The file: what is good, and the one clear line for each thing that is not."""

from __future__ import annotations

import inspect
import re

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from ctdb_etcd import config
from ctdb_etcd.fence import margin
from ctdb_etcd.lock import Refused
from tests.support import TREE
from tests.support.helper import Helper

SHIPPED = TREE / "etc" / "ctdb_etcd_lock.conf"


def parse(text: str) -> config.Config:
    return config.parse("the.conf", text.encode())


def refused(text: str | bytes) -> list[str]:
    with pytest.raises(Refused) as failure:
        config.parse("the.conf", text if isinstance(text, bytes) else text.encode())
    return str(failure.value).splitlines()


def test_an_empty_file_gives_the_documented_defaults():
    settings = parse("")
    assert settings.hosts == [("127.0.0.1", 2379)]
    assert (settings.lock_ttl, settings.refresh, settings.locks_dir) == (9, 2, "_ctdb")
    assert (settings.lock_prefix, settings.netbios_name) == ("/_locks", None)
    assert (settings.acquire_timeout, settings.read_timeout) == (30, 3)


def test_the_shipped_file_shows_every_key_with_its_default():
    text = SHIPPED.read_text()
    shown = dict(re.findall(r"^#(\w+) = ?(.*)$", text, re.MULTILINE))
    assert shown.keys() == config.SPEC.keys()
    for key in "netbios_name", "srv_domain", "ca_cert", "cert", "username", "password", "expected_cluster_id":
        assert shown.pop(key) == ""
    uncommented = "\n".join(f"{key} = {value}" for key, value in shown.items())
    assert vars(parse(uncommented)) == vars(parse("")) == vars(parse(text))


def test_comments_quotes_lists_and_blank_lines_are_understood():
    settings = parse(
        "\ufeff# a comment\r\n\r\n  host = a, 'b:1' , [::1]:2,::2, fe80::1%eth0 # another\r\n"
        'locks_dir = "some/where"\r\nnetbios_name=files\r\nport = 99'
    )
    assert settings.hosts == [("a", 99), ("b", 1), ("::1", 2), ("::2", 99), ("fe80::1%eth0", 99)]
    assert settings.locks_dir == "some/where"


def test_a_percent_or_dollar_sign_is_nothing_special():
    assert parse("locks_dir = a$b").locks_dir == "a$b"
    assert "%(port)s" in refused("locks_dir = %(port)s")[0]


def test_a_password_may_hold_anything_and_a_hash_only_in_quotes():
    assert parse("username = u\npassword = '%(port)s$x, #1'  # note").password == "%(port)s$x, #1"
    (fault,) = refused("username = u\npassword = secret#1")
    assert fault == "the.conf: line 2: password: a # begins a comment: put the value into quotes"


def test_the_name_is_taken_in_upper_case_as_testparm_answers_it():
    assert parse("netbios_name = Files-1").netbios_name == "FILES-1"


def test_lock_refresh_of_sambas_helper_is_taken_for_refresh_with_a_note():
    settings = parse("\nlock_refresh = 3")
    assert settings.refresh == 3
    assert settings.notes == ["the.conf: line 2: lock_refresh: is taken for refresh, its name here"]
    assert "line 1: lock_refresh: refresh is set as well" in refused("lock_refresh = 3\nrefresh = 2")[0]


@pytest.mark.parametrize(
    "line, says",
    [
        ("port = 0", "port: '0' is not allowed: it takes a whole number from 1 to 65535"),
        ("port = http", "port: 'http' is not allowed: it takes a whole number from 1 to 65535"),
        ("port = 1, 2", "port: '1, 2' is not allowed: it takes a whole number"),
        ("lock_ttl = 2", "lock_ttl: '2' is not allowed: it takes whole seconds from 3 to 3600"),
        ("lock_ttl = 9.5", "lock_ttl: '9.5' is not allowed: it takes whole seconds"),
        ("refresh = -1", "refresh: '-1' is not allowed: it takes seconds from 0.2 to 1800"),
        ("refresh = nan", "refresh: 'nan' is not allowed"),
        ("acquire_timeout = inf", "acquire_timeout: 'inf' is not allowed"),
        ("acquire_timeout = 111", "acquire_timeout: '111' is not allowed: it takes seconds from 1 to 110"),
        ("read_timeout =", "read_timeout: '' is not allowed: it takes seconds"),
        ("host =", "host: '' is not allowed: it takes host, host:port, [IPv6]:port, or a list"),
        ("host = ,", "host: '' is not allowed"),
        ("host = a:b", "host: 'a:b' is not allowed"),
        ("host = a:70000", "host: 'a:70000' is not allowed"),
        ("host = http://a:2379", "host: 'http://a:2379' is not allowed"),
        ("host = a, a", "host: 'a, a' is not allowed"),
        ("netbios_name = A B", "netbios_name: 'A B' is not allowed: it takes at most 63 ASCII letters"),
        ("netbios_name = A/B", "netbios_name: 'A/B' is not allowed"),
        ("netbios_name = ..", "netbios_name: '..' is not allowed"),
        ("netbios_name = Ä", "netbios_name: 'Ä' is not allowed"),
        ("netbios_name = A\tB", "netbios_name: 'A\\tB' is not allowed"),
        ("netbios_name =", "netbios_name: '' is not allowed"),
        ("locks_dir = /a", "locks_dir: '/a' is not allowed: it takes names joined by single slashes"),
        ("locks_dir = a//b", "locks_dir: 'a//b' is not allowed"),
        ("locks_dir = ../x", "locks_dir: '../x' is not allowed"),
        ("lock_prefix = locks", "lock_prefix: 'locks' is not allowed: it takes a slash and names"),
        ("protocol = ftp", "protocol: 'ftp' is not allowed: it takes http or https"),
        ("cert = a.pem", "cert: 'a.pem' is not allowed: it takes the absolute path of a PEM file with certificate"),
        ("cert = /a, /b, /c", "cert: '/a, /b, /c' is not allowed"),
        ("ca_cert =", "ca_cert: '' is not allowed: it takes the absolute path of a PEM file"),
        ("username =", "username: '' is not allowed: it takes text"),
        ("username = u", "username: password is missing: set both"),
        ("password = secret", "password: username is missing: set both"),
        ("password = a, b", "password: the value is not allowed: it takes text, in quotes if it holds a comma"),
        ("srv_domain = a b", "srv_domain: 'a b' is not allowed: it takes a DNS domain"),
        ("srv_domain = a..b", "srv_domain: 'a..b' is not allowed"),
        ("expected_cluster_id = xyz", "expected_cluster_id: 'xyz' is not allowed: it takes at most 16 hexadecimal"),
        ("expected_cluster_id = 11112222333344445", "expected_cluster_id: '11112222333344445' is not allowed"),
        ("version_prefix = v2", "version_prefix: 'v2' is not allowed: it takes a slash"),
        ("allow_redirect = maybe", "allow_redirect: 'maybe' is not allowed: it takes true or false"),
        ("allow_reconnect = maybe", "allow_reconnect: 'maybe' is not allowed"),
        ("use_proxies = maybe", "use_proxies: 'maybe' is not allowed"),
        ("per_host_pool_size = 0", "per_host_pool_size: '0' is not allowed: it takes a whole number from 1"),
        ("api = 4", "api: '4' is not allowed: it takes"),
        ("lock_tll = 9", "lock_tll: is not a known key; the nearest one is lock_ttl"),
        ("Port = 1", "Port: is not a known key; the nearest one is port"),
        ("hosts = a", "hosts: is not a known key; the nearest one is host"),
        ("port", 'is not of the form "key = value"'),
        ("port = 1\nport = 2", "this key was set already"),
        ("[etcd]", "[sections] are not used here: remove the line"),
        ('host = "a', "the value cannot be read: check its quotes"),
        ("host = a b", "host: 'a b' is not allowed"),
    ],
)
def test_each_bad_line_is_named_with_its_number_and_what_is_allowed(line, says):
    faults = refused("# first\n\n" + line)
    assert len(faults) == 1
    number = 2 + len(line.splitlines())
    assert faults[0].startswith(f"the.conf: line {number}: {says}".replace("\\t", "\t"))


def test_all_faults_are_named_at_once():
    faults = refused("port = x\nnonsense\n[s]\nrefresh = 0\nlock_ttl = 9\nlock_ttl = 8\nprt = 1\n")
    assert sorted(re.findall(r"line (\d+)", "\n".join(faults))) == ["1", "2", "3", "4", "6", "7"]


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"port = 1\nhost = \xe4\n", b"\x00", b"port\x00 = 1"])
def test_a_file_that_is_not_text_is_refused(data):
    assert len(refused(data)) == 1


@pytest.mark.parametrize(
    "text, ways",
    [
        ("lock_ttl = 9\nrefresh = 7", "set lock_ttl = 10 or refresh = 6 or read_timeout = 0.5"),
        ("lock_ttl = 3", "set lock_ttl = 5 or refresh = 0.2"),
        ("refresh = 1800", "set lock_ttl = 1803 or refresh = 6"),
        ("lock_ttl = 9\nrefresh = 7.2\nread_timeout = 60", "set lock_ttl = 11 or refresh = 6 or read_timeout = 0.4"),
        ("lock_ttl = 3\nrefresh = 2\nread_timeout = 0.2", "set lock_ttl = 4 or refresh = 1.8"),
    ],
)
def test_a_refresh_that_leaves_no_time_for_two_tries_is_refused_with_values_that_would_do(text, ways):
    assert [line for line in refused(text) if line.endswith(ways)] == refused(text)


def tenths(least, most):
    return st.integers(least, most).map(lambda tenth: tenth / 10)


# A package may be built on a machine that is slow for a moment.
@hypothesis(deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(3, 30), tenths(2, 300), tenths(2, 50))
def test_every_combination_either_leaves_time_for_two_tries_or_is_refused_and_each_value_named_would_do(
    ttl, refresh, read_timeout
):
    values = {"lock_ttl": ttl, "refresh": refresh, "read_timeout": read_timeout}
    spare = ttl - margin(ttl) - refresh - 2 * min(read_timeout, 1)
    # A hair's breadth either way is not what this is about.
    assume(abs(spare) > 1e-6)
    text = "\n".join(f"{key} = {value}" for key, value in values.items())
    if spare > 0:
        parse(text)
        return
    (line,) = refused(text)
    for way in line.rpartition(": set ")[2].split(" or "):
        key, _, value = way.partition(" = ")
        parse("\n".join(f"{name} = {value if name == key else old}" for name, old in values.items()))


def test_every_keyword_of_python_etcds_client_is_a_key_and_reaches_it_in_its_type():
    etcd = pytest.importorskip("etcd")
    settings = parse(
        "host = ::1\nport = 99\nread_timeout = 2\nprotocol = https\ncert = /a, /b\nca_cert = /ca\nusername = u\n"
        "password = '1,2'\nexpected_cluster_id = 00ABC\nversion_prefix = /x/v2\nallow_redirect = no\n"
        "allow_reconnect = yes\nuse_proxies = yes\nper_host_pool_size = 3\nlock_prefix = /l"
    )
    keywords = inspect.signature(etcd.Client.__init__).parameters.keys() - {"self"}
    assert keywords <= config.SPEC.keys()
    passed = config.client_keywords(settings, settings.hosts[0])
    assert passed.keys() == keywords
    assert passed == {
        "host": "[::1]",
        "port": 99,
        "srv_domain": None,
        "version_prefix": "/x/v2",
        "read_timeout": 2.0,
        "allow_redirect": False,
        "protocol": "https",
        "cert": ("/a", "/b"),
        "ca_cert": "/ca",
        "username": "u",
        "password": "1,2",
        "allow_reconnect": False,
        "use_proxies": True,
        "expected_cluster_id": "abc",
        "per_host_pool_size": 3,
        "lock_prefix": "/l",
    }
    assert config.client_keywords(parse("cert = /a\nprotocol = https"), ("h", 1))["cert"] == "/a"


@pytest.mark.parametrize(
    "text, says",
    [
        ("api = 3\nversion_prefix = /x", "line 2: version_prefix: has no effect with api = 3: remove the line"),
        ("api = 3\nper_host_pool_size = 1", "line 2: per_host_pool_size: has no effect with api = 3"),
        ("cert = /a", "line 1: cert: has no effect with protocol = http: set protocol = https"),
        ("ca_cert = /a", "line 1: ca_cert: has no effect with protocol = http"),
        ("srv_domain = x\nhost = a", "line 2: host: has no effect with srv_domain"),
        ("srv_domain = x\nport = 1", "line 2: port: has no effect with srv_domain"),
        ("allow_reconnect = true", "line 1: allow_reconnect: true has no effect with one host: name all members"),
        ("host = a, b\nallow_reconnect = 0", "line 2: allow_reconnect: false has no effect: all endpoints are used"),
        (
            "host = a, b\nallow_reconnect = 1\nuse_proxies = 0",
            "line 3: use_proxies: false has no effect: the endpoints named here are used",
        ),
    ],
)
def test_a_value_that_would_silently_change_nothing_is_a_warning_that_says_why(text, says):
    (warning,) = parse(text).warnings
    assert warning.startswith(f"the.conf: {says}")


def test_values_that_are_in_force_anyway_are_no_warning():
    assert not parse("api = 3\nallow_redirect = false\nuse_proxies = true\nhost = a, b\nallow_reconnect = 1").warnings
    assert not parse("api = auto\nversion_prefix = /x/v2\nper_host_pool_size = 1").warnings


@pytest.mark.parametrize("mode, warned", [(0o644, True), (0o604, True), (0o600, False)])
def test_a_password_that_others_may_read_is_a_warning(tmp_path, mode, warned):
    conf = tmp_path / "x.conf"
    conf.write_text("username = u\npassword = p")
    conf.chmod(mode)
    warnings = config.parse(str(conf), conf.read_bytes()).warnings
    assert warnings == [f"{conf}: line 2: password: others may read this file: chmod 600 {conf}"] * warned
    conf.write_text("port = 1")
    assert not config.parse(str(conf), conf.read_bytes()).warnings


def test_no_message_shows_what_a_broken_line_holds():
    text = "password secret\npassword = 'secret\npassword = secret, secret\npassword = 1\npassword = secret"
    assert "secret" not in "\n".join(refused(text))


def test_a_bad_file_gives_status_3_and_all_its_lines_on_stderr(tmp_path):
    conf = tmp_path / "bad.conf"
    conf.write_text("port = 0\nnetbios_name = X\nhots = a\n")
    with Helper(conf) as helper:
        assert helper.status() == "3"
        helper.wait_exit()
        assert helper.stderr.splitlines() == [
            f"ctdb_etcd_lock: {conf}: line 3: hots: is not a known key; the nearest one is host",
            f"ctdb_etcd_lock: {conf}: line 1: port: '0' is not allowed: it takes a whole number from 1 to 65535",
        ]


@pytest.mark.parametrize("make", ["missing", "directory"])
def test_a_file_named_with_c_that_cannot_be_read_is_an_error(tmp_path, make):
    conf = tmp_path / "x.conf"
    if make == "directory":
        conf.mkdir()
    with Helper(conf) as helper:
        assert helper.status() == "3"
        helper.wait_exit()
        assert helper.stdout == b"3"
        assert len(helper.stderr.splitlines()) == 1 and str(conf) in helper.stderr


def test_ctdb_base_says_where_the_default_file_is(tmp_path):
    (tmp_path / "ctdb_etcd_lock.conf").write_text("port = bad\n")
    with Helper(None, env={"CTDB_BASE": str(tmp_path)}) as helper:
        assert helper.status() == "3"
        helper.wait_exit()
        assert f"{tmp_path}/ctdb_etcd_lock.conf: line 1: port" in helper.stderr


def test_a_bad_option_gives_status_3_and_a_line():
    with Helper(None, "--verbose") as helper:
        assert helper.status() == "3"
        helper.wait_exit()
        assert helper.stderr == "ctdb_etcd_lock: unrecognized arguments: --verbose: see --help\n"


def test_help_and_version_are_for_people():
    with Helper(None, "--help") as helper:
        helper.wait_exit()
        assert b"cluster lock = !" in helper.stdout and b"-v" in helper.stdout
    with Helper(None, "--version") as helper:
        helper.wait_exit()
        assert re.fullmatch(rb"ctdb_etcd_lock \d+\.\d+\S*\n", helper.stdout)
