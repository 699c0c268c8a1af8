# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the keys: accepted values, one clear line for each bad value, and warnings about values without effect."""

from __future__ import annotations

import inspect

import pytest

from ctdb_etcd.config import keys
from tests.support.conf import parse, refused


@pytest.mark.parametrize(
    "line, says",
    [
        ("port = 0", "port: '0' is not allowed: it takes a whole number from 1 to 65535"),
        ("port = http", "port: 'http' is not allowed: it takes a whole number from 1 to 65535"),
        ("port = 2_3", "port: '2_3' is not allowed"),
        ("port = \u0662", "port: '\u0662' is not allowed"),
        ("refresh = nan", "refresh: 'nan' is not allowed"),
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
        ("host = a..b", "host: 'a..b' is not allowed"),
        ("host = .", "host: '.' is not allowed"),
        ("host = .x:1", "host: '.x:1' is not allowed"),
        (f"host = {'x' * 64}", f"host: '{'x' * 64}' is not allowed"),
        (f"host = {'x.' * 127}", f"host: '{'x.' * 127}' is not allowed"),
        ("host = x\u00fc", "host: 'x\u00fc' is not allowed"),
        ("host = http://user:secret@a", "host: the value is not allowed"),
        ("host = a:70000", "host: 'a:70000' is not allowed"),
        ("host = http://a:2379", "host: 'http://a:2379' is not allowed"),
        ("host = a., b, A", "host: a (port 2379) is there 2 times: name each endpoint once"),
        ("host = a, b, a", "host: a (port 2379) is there 2 times: name each endpoint once"),
        ("host = a:2379, A, b, a", "host: a (port 2379) is there 3 times: name each endpoint once"),
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
        ("ca_cert = /a\0b", "ca_cert: '/a\0b' is not allowed: it takes the absolute path of a PEM file"),
        ("cert = /a, /\0", "cert: '/a, /\0' is not allowed"),
        ("ca_cert =", "ca_cert: '' is not allowed: it takes the absolute path of a PEM file"),
        ("username =", "username: the value is not allowed: it takes text"),
        ("username = u, secret", "username: the value is not allowed: it takes text"),
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
        ("port = 1\nport = 2", "port: it is set in line 3 already: keep one of the lines"),
        ("'port' = 1\n \"port\"= 2", "port: it is set in line 3 already: keep one of the lines"),
        ("lock_refresh = 1\nlock_refresh = 2", "lock_refresh: it is set in line 3 already"),
        ("[etcd]", "[sections] are not used here: remove the line"),
        ("other = 1", 'is not of the form "key = value" with a known key: ctdb-etcd(7) has them all'),
        ('host = "a', "the value cannot be read: check its quotes"),
        ("host = a b", "host: 'a b' is not allowed"),
    ],
)
def test_each_bad_line_is_named_with_its_number_and_what_is_allowed(line, says):
    faults = refused("# first\n\n" + line)
    assert len(faults) == 1
    number = 2 + len(line.splitlines())
    assert faults[0].startswith(f"the.conf: line {number}: {says}".replace("\\t", "\t"))


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
def test_refresh_without_time_for_two_tries_is_refused_with_good_values(text, ways):
    (line,) = refused(text)
    assert line.endswith(ways)
    # Where refresh is not in the file, no line is named.
    assert ("line " in line) == ("refresh" in text)


def test_every_keyword_of_etcd_client_is_a_key_and_read_typed():
    etcd = pytest.importorskip("etcd")
    settings = parse(
        "host = ::1\nport = 99\nread_timeout = 2\nprotocol = https\ncert = /a, /b\nca_cert = /ca\nusername = u\n"
        "password = '1,2'\nexpected_cluster_id = 00ABC\nversion_prefix = /x/v2\nallow_redirect = no\n"
        "allow_reconnect = yes\nuse_proxies = yes\nper_host_pool_size = 3\nlock_prefix = /l"
    )
    keywords = inspect.signature(etcd.Client.__init__).parameters.keys() - {"self"}
    assert keywords <= keys.SPEC.keys()
    values = {name: getattr(settings, name) for name in keywords - {"host", "port"}}
    assert settings.hosts == [("::1", 99)]
    assert values == {
        "srv_domain": None,
        "version_prefix": "/x/v2",
        "read_timeout": 2.0,
        "allow_redirect": False,
        "protocol": "https",
        "cert": ("/a", "/b"),
        "ca_cert": "/ca",
        "username": "u",
        "password": "1,2",
        "allow_reconnect": True,
        "use_proxies": True,
        "expected_cluster_id": 0xABC,
        "per_host_pool_size": 3,
        "lock_prefix": "/l",
    }
    assert parse("cert = /a\nprotocol = https").cert == ("/a",)


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
def test_value_without_effect_causes_a_warning_with_the_reason(text, says):
    (warning,) = parse(text).warnings
    assert warning.startswith(f"the.conf: {says}")


def test_values_equal_to_those_in_force_cause_no_warning():
    assert not parse("api = 3\nallow_redirect = false\nuse_proxies = true\nhost = a, b\nallow_reconnect = 1").warnings
    assert not parse("api = auto\nversion_prefix = /x/v2\nper_host_pool_size = 1").warnings
