# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of error answers of the v3 gateway: the exception for each etcd message, and how much of it is quoted."""

from __future__ import annotations

import json

import pytest

from ctdb_etcd import errors
from ctdb_etcd.client.v3_answers import advice, base64, cluster_of, raft_term, understand
from ctdb_etcd.errors import EndpointRefused, LockError, Refused, Unavailable


def meaning(status, body, *at_login):
    with pytest.raises(LockError) as failure:
        understand(status, body if isinstance(body, bytes) else json.dumps(body).encode(), *at_login)
    return type(failure.value), str(failure.value)


@pytest.mark.parametrize("body", [b'{"a": 1}', b'{"a": 1}\n{"b": 2}\n', b'{"a": 1, "error": null}'])
def test_object_of_status_200_is_the_answer(body):
    assert understand(200, body)["a"] == 1


@pytest.mark.parametrize("status", [199, 201, 500])
def test_object_of_another_status_is_an_error(status):
    assert meaning(status, {"a": 1})[0] is Unavailable


SAID = [
    ("etcdserver: requested lease not found", errors.LeaseNotFound),
    ("etcdserver: lease already exists", errors.LeaseExists),
    ("etcdserver: permission denied", errors.PermissionDenied),
    ("etcdserver: user name is empty", errors.Unauthenticated),
    ("etcdserver: invalid auth token", errors.Unauthenticated),
    ("etcdserver: revision of auth store is old", errors.Unauthenticated),
    ("etcdserver: authentication failed, invalid user ID or password", errors.LoginRefused),
    ("etcdserver: authentication is not enabled", errors.AuthDisabled),
]


@pytest.mark.parametrize("message, kind", SAID)
def test_message_of_etcd_becomes_its_exception(message, kind):
    assert meaning(400, {"message": message}) == (kind, f"etcd reports: {message}")


def test_not_found_means_that_v3_is_not_served():
    kind, says = meaning(404, {"error": "Not Found"})
    assert kind is EndpointRefused
    assert says == "etcd reports: Not Found: the v3 API is not served: this needs etcd 3.4 or later"


@pytest.mark.parametrize(
    "status, body",
    [
        (503, {"message": "no leader"}),
        (200, {"error": "no leader"}),
        (503, {"error": "no leader"}),
        (503, {"error": "other", "message": "no leader"}),
        (200, {"error": {"message": "no leader", "code": 14}}),
        (200, {"error": {"message": "no leader"}, "message": "other"}),
    ],
)
def test_message_is_found_where_each_release_has_it(status, body):
    assert meaning(status, body) == (Unavailable, f"etcd reports: no leader (HTTP status {status})")


def test_four_hundred_characters_of_a_message_are_quoted():
    assert meaning(500, {"message": "x" * 399 + "yz"})[1] == f"etcd reports: {'x' * 399}y (HTTP status 500)"


# Answers to a login, which could repeat the password


@pytest.mark.parametrize("part", ["no leader", "leader changed", "request timed out", "too many requests"])
def test_known_message_to_a_login_is_named_without_its_rest(part):
    assert meaning(503, {"message": f"{part}: hunter2"}, True)[1] == f"etcd reports: {part} (HTTP status 503)"


def test_unknown_message_to_a_login_is_not_quoted():
    assert meaning(500, {"message": "hunter2"}, True) == (
        Unavailable,
        "etcd reports: what may repeat the password (HTTP status 500)",
    )


def test_refusal_of_a_login_is_named_without_its_rest():
    kind, says = meaning(400, {"message": "authentication failed, hunter2"}, True)
    assert (kind, says) == (errors.LoginRefused, "etcd reports: authentication failed")


# Answers without a JSON object


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"3", b"\xff", b"[" * 100000])
def test_answer_without_an_object_is_no_answer(body):
    assert meaning(500, body) == (Unavailable, "an answer that is not JSON (HTTP status 500)")


@pytest.mark.parametrize("status", [404, 405, 501])
def test_status_of_an_unknown_path_means_that_v3_is_not_served(status):
    kind, says = meaning(status, b"404 page not found")
    assert kind is EndpointRefused and f"(HTTP status {status})" in says


@pytest.mark.parametrize("status", [403, 406, 500, 502])
def test_other_status_without_an_object_may_change(status):
    assert meaning(status, b"")[0] is Unavailable


HTTPS = b"Client sent an HTTP request to an HTTPS server.\n"


def test_port_for_https_is_recognized_by_its_text_and_status():
    assert meaning(400, HTTPS) == (EndpointRefused, "it speaks https only: set protocol = https")
    for status, body in (400, b"Bad Request"), (399, HTTPS), (401, HTTPS):
        assert meaning(status, body)[0] is Unavailable


def test_certificate_with_a_common_name_is_refused_with_what_etcd_says():
    text = b" \nCommonName of client sending a request against gateway will be ignored and not used as expected\n"
    kind, says = meaning(400, text)
    assert kind is Refused
    assert says == (
        f"etcd reports: {text.decode().strip()}: let cert be a certificate without a CN, the user is username"
    )
    assert meaning(400, b"hunter2 " + text, True)[1].startswith("etcd reports: CommonName of client: let cert")


def test_two_hundred_bytes_of_such_a_text_are_quoted():
    says = meaning(400, (b"CommonName of client \xff").ljust(199, b"x") + b"yz")[1]
    assert says.startswith("etcd reports: CommonName of client \ufffdx") and "xy: let cert" in says


# Fields of answers


@pytest.mark.parametrize(
    "body, directory",
    [
        ({"key": base64("/l/d/N/1")}, "/l/d/N/"),
        ({"compare": [{"key": base64("/l/d/N/1")}, {"key": base64("/x/1")}]}, "/l/d/N/"),
        ({"key": base64("/l/1"), "compare": [{"key": base64("/x/1")}]}, "/l/"),
        ({}, "the lock's directory"),
    ],
)
def test_advice_names_the_permission_and_the_directory(body, directory):
    assert advice("u", body) == (
        f"user u needs readwrite permission on {directory}, if that is the directory of all nodes (else correct"
        f" the file): etcdctl role grant-permission ROLE --prefix=true readwrite {directory}"
    )


def test_base64_is_one_line_without_an_end():
    assert base64("x" * 60) == "eHh4" * 20


@pytest.mark.parametrize("answer", [{"header": {"cluster_id": "77"}}, {"result": {"header": {"cluster_id": 77}}}])
def test_cluster_is_named_in_the_header_also_of_a_stream(answer):
    assert cluster_of(answer) == 77


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"header": {"a": 1}},
        {"header": []},
        {"header": [1]},
        {"result": None},
        {"header": {"cluster_id": "x"}},
        {"header": {"cluster_id": None}},
        {"header": {"cluster_id": float("inf")}},
    ],
    ids=str,
)
def test_answer_that_names_no_cluster_makes_no_sense(answer):
    with pytest.raises(Unavailable, match="makes no sense: it names no cluster"):
        cluster_of(answer)


def test_term_is_in_the_header_and_zero_without_one():
    assert raft_term({"header": {"raft_term": "7"}}) == 7 and raft_term({}) == 0
