# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""User and password: who may take the lock, what becomes of dead tokens, and that no secret is ever seen."""

from __future__ import annotations

import base64
import json
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from tests.support import TREE
from tests.support.certs import Authority
from tests.support.etcd import Etcd
from tests.support.helper import Helper
from tests.support.machine import wait_until
from tests.support.process import Watched
from tests.support.proxy import Proxy

TTL = 9
SHIPPED = TREE / "etc" / "ctdb_etcd_lock.conf"
# What a masking that knows only the plain text would miss in JSON.
PASSWORD = 'p"ä\\ss%(w)s$x#1'
QUOTED = f"'{PASSWORD}'"


@contextmanager
def with_login(args=(), members=1, tls=None):
    """An etcd whose auth is enabled, with the user root (password `root`)."""
    with Etcd(members, args, tls=tls) as etcd:
        etcd.etcdctl("user", "add", "root:root")
        etcd.etcdctl("user", "grant-role", "root", "root")
        etcd.etcdctl("auth", "enable")
        etcd.user = "root:root"
        yield etcd


@pytest.fixture(scope="module")
def guarded():
    """One member, shared."""
    with with_login() as etcd:
        yield etcd


def add_user(etcd, lock_name, permission="readwrite", user=None, password=PASSWORD):
    """Make a user by the commands of the shipped file's comment; its name is returned."""
    user = user or f"user-{lock_name}"
    text = SHIPPED.read_text()
    commands = [line[1:].split() for line in text.splitlines() if line.startswith("#   etcdctl ")]
    assert [command[1:3] for command in commands] == [
        ["role", "add"],
        ["role", "grant-permission"],
        ["user", "add"],
        ["user", "grant-role"],
    ]
    for _, *command in commands:
        words = [{"ctdb": user, "readwrite": permission}.get(word, word) for word in command]
        words = [word.replace("/NAME/", f"/{lock_name}/") for word in words]
        if words[:2] == ["user", "add"]:
            words[2] = f"{user}:{password}"
        if permission or words[1] != "grant-permission":
            etcd.etcdctl(*words)
    return user


def change_password(etcd, user, password):
    argv, env = etcd._etcdctl("user", "passwd", user, "--interactive=false")
    subprocess.run(argv, env=env, input=f"{password}\n", text=True, check=True, timeout=10, capture_output=True)


@pytest.fixture
def conf(helper_conf):
    def write(etcd, user, **keys):
        keys = {"host": etcd.endpoints, "username": user, "password": QUOTED, **keys}
        path = helper_conf(**keys)
        path.chmod(0o600)
        return path

    return write


def refusal(conf, *args):
    with Helper(conf, *args) as helper:
        assert helper.status() == "3", helper.describe()
        assert helper.answered_after < 10  # by far less than acquire_timeout
        helper.wait_exit()
        assert len(helper.stderr.splitlines()) == 1, helper.describe()
        return helper.stderr.strip()


def test_a_user_made_by_the_commands_in_the_shipped_file_may_take_hold_and_release(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    with Helper(conf(guarded, user)) as holder:
        assert holder.status() == "0"
        with Helper(conf(guarded, user)) as helper:
            assert helper.status() == "1"
        time.sleep(3)
        assert holder.alive
        holder.terminate()
        holder.wait_exit()
        assert holder.stderr == ""
        assert not guarded.keys(f"/_locks/_ctdb/{lock_name}/")


@pytest.mark.parametrize("permission", ["read", "write", ""])
def test_a_user_with_less_than_readwrite_is_refused_with_what_to_grant_and_leaves_nothing(
    guarded, conf, lock_name, permission
):
    user = add_user(guarded, lock_name, permission)
    leases = guarded.leases()
    line = refusal(conf(guarded, user))
    directory = f"/_locks/_ctdb/{lock_name}/"
    assert f"permission denied: user {user} needs readwrite permission on {directory}" in line
    grant = line.rpartition(": etcdctl ")[2]
    assert guarded.leases() == leases
    guarded.etcdctl(*grant.replace("ROLE", user).split())
    with Helper(conf(guarded, user)) as helper:
        assert helper.status() == "0"


def test_a_permission_for_another_lock_is_not_enough(guarded, conf, lock_name):
    user = add_user(guarded, lock_name + "X")
    assert f"needs readwrite permission on /_locks/_ctdb/{lock_name}/" in refusal(conf(guarded, user))


def test_a_wrong_user_or_password_is_refused_at_once(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    for wrong in conf(guarded, user, password="wrong"), conf(guarded, "nobody"):
        line = refusal(wrong)
        assert "authentication failed" in line and "check username (" in line


def test_no_user_where_etcd_wants_one_is_refused_at_once(guarded, conf):
    line = refusal(conf(guarded, None, password=None))
    assert "user name is empty: set username and password" in line


def test_a_login_that_etcd_has_not_enabled_is_noted_with_v_and_needless(etcd, conf):
    with Helper(conf(etcd, "somebody"), "-v") as helper:
        assert helper.status() == "0"
        assert "etcd's auth is not enabled: going on without login" in helper.stderr
        helper.terminate()
        helper.wait_exit()
    with Helper(conf(etcd, "somebody")) as helper:
        assert helper.status() == "0"
        assert helper.stderr == ""


@pytest.mark.slow
def test_auth_enabled_while_the_lock_is_held_costs_nothing(conf, lock_name):
    with Etcd(1) as etcd:
        user = add_user(etcd, lock_name)
        with Helper(conf(etcd, user)) as helper:
            assert helper.status() == "0"
            (key,) = etcd.keys("/_locks/_ctdb/")
            etcd.etcdctl("user", "add", "root:root")
            etcd.etcdctl("user", "grant-role", "root", "root")
            etcd.etcdctl("auth", "enable")
            etcd.user = "root:root"
            time.sleep(TTL + 2)
            assert helper.alive and etcd.keys("/_locks/_ctdb/") == [key], helper.describe()


@pytest.mark.slow
def test_tokens_that_live_for_1_s_are_renewed_for_as_long_as_the_lock_is_held(conf, lock_name):
    with with_login(["--auth-token-ttl=1"]) as etcd:
        user = add_user(etcd, lock_name)
        with Proxy(etcd.endpoints[0]) as proxy:
            with Helper(conf(etcd, user, host=proxy.endpoint)) as helper:
                assert helper.status() == "0"
                (key,) = etcd.keys("/_locks/_ctdb/")
                time.sleep(TTL + 3)
                assert helper.alive and helper.stderr == ""
                assert etcd.keys("/_locks/_ctdb/") == [key]
                # One login a refresh, not one a request.
                assert 4 <= proxy.seen().count("auth/authenticate") <= 8


@pytest.mark.slow
def test_a_token_lasts_while_it_is_used(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    with Proxy(guarded.endpoints[0]) as proxy, Helper(conf(guarded, user, host=proxy.endpoint)) as helper:
        assert helper.status() == "0"
        time.sleep(7)
        assert proxy.seen().count("auth/authenticate") == 1


@pytest.mark.slow
@pytest.mark.parametrize("members", [1, 3])
def test_a_member_restarted_costs_a_login_and_not_the_lock(conf, lock_name, members):
    with with_login(members=members) as etcd:
        user = add_user(etcd, lock_name)
        with Helper(conf(etcd, user)) as helper:
            assert helper.status() == "0"
            (key,) = etcd.keys("/_locks/_ctdb/")
            for member in etcd.members:
                member.restart()
                etcd.wait_healthy()
                time.sleep(3)
            time.sleep(TTL)
            assert helper.alive and etcd.keys("/_locks/_ctdb/") == [key], helper.describe()


@pytest.mark.slow
def test_a_password_changed_meanwhile_loses_the_lock_within_the_ttl_and_says_why(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    with Helper(conf(guarded, user)) as helper:
        assert helper.status() == "0"
        change_password(guarded, user, "another")
        changed = time.monotonic()
        assert helper.wait_eof(12) - changed < TTL
        helper.wait_exit()
        assert "lost " in helper.stderr and "authentication failed" in helper.stderr
        assert PASSWORD not in helper.stderr


@pytest.mark.slow
def test_a_permission_taken_away_meanwhile_loses_the_lock_within_the_ttl_and_says_why(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    with Helper(conf(guarded, user)) as helper:
        assert helper.status() == "0"
        guarded.etcdctl("user", "revoke-role", user, user)
        changed = time.monotonic()
        assert helper.wait_eof(12) - changed < TTL
        assert "lost " in helper.stderr and "permission denied" in helper.stderr


@pytest.mark.slow
def test_a_role_changed_meanwhile_costs_nothing(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    with Helper(conf(guarded, user)) as helper:
        assert helper.status() == "0"
        for number in range(10):
            guarded.etcdctl("role", "grant-permission", user, "read", f"/elsewhere{number}")
            time.sleep(0.5)
        assert helper.alive and helper.stderr == ""


@pytest.mark.parametrize(
    "message",
    ["etcdserver: invalid auth token", "etcdserver: revision of auth store is old", "etcdserver: user name is empty"],
)
def test_etcd_that_takes_no_token_is_asked_until_the_deadline_and_not_in_a_hurry(guarded, conf, lock_name, message):
    user = add_user(guarded, lock_name)
    with Proxy(guarded.endpoints[0]) as proxy:
        body = json.dumps({"error": message, "message": message, "code": 16}).encode()
        proxy.answer_with(401, body, matching=b"kv/range")
        with Helper(conf(guarded, user, host=proxy.endpoint, acquire_timeout=4)) as helper:
            assert helper.status() == "2", helper.describe()
            helper.wait_exit()
            assert helper.answered_after < 7
            assert proxy.seen().count("auth/authenticate") < 20
            assert message in helper.stderr


@pytest.mark.slow
def test_a_connection_closed_instead_of_401_leads_to_another_login(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    with Proxy(guarded.endpoints[0]) as proxy, Helper(conf(guarded, user, host=proxy.endpoint)) as helper:
        assert helper.status() == "0"
        proxy.truncate_answers(0)
        wait_until(lambda: helper.stderr, 5, "a refresh that fails")
        proxy.forward()
        wait_until(lambda: proxy.seen().count("auth/authenticate") > 1, 5, "another login")
        time.sleep(TTL)
        assert helper.alive


def test_a_certificate_with_a_common_name_beside_auth_is_refused_with_what_to_do(conf, lock_name, tmp_path):
    pki = Authority(tmp_path)
    args = ["--client-cert-auth", "--trusted-ca-file", pki.ca]
    with with_login(args, tls=pki.issue("server")) as etcd:
        user = add_user(etcd, lock_name)
        keys = {"protocol": "https", "ca_cert": pki.ca}
        named = pki.issue("named", san="", subject="/CN=somebody")
        line = refusal(conf(etcd, user, cert=[named.cert, named.key], **keys))
        assert "CommonName of client" in line and "certificate without a CN" in line
        plain = pki.issue("plain", san="")
        with Helper(conf(etcd, user, cert=[plain.cert, plain.key], **keys)) as helper:
            assert helper.status() == "0"


@pytest.mark.slow
@pytest.mark.parametrize("api", ["3", "auto"])
def test_no_secret_is_in_the_log_the_value_or_the_process_list(guarded, conf, lock_name, api):
    # Not PASSWORD: the command line of another test's etcdctl shows that.
    password = f'p"ä\\{lock_name}'
    user = add_user(guarded, lock_name, password=password)
    with Proxy(guarded.endpoints[0]) as proxy:
        with Watched(["sh", "-c", "while :; do ps axww -o args; sleep 0.01; done"]) as processes:
            with Helper(conf(guarded, user, password=f"'{password}'", host=proxy.endpoint, api=api), "-vvv") as helper:
                assert helper.status() == "0"
                (key,) = guarded.keys("/_locks/_ctdb/" + lock_name)
                proxy.truncate_answers()
                time.sleep(2.5)
                proxy.forward()
                change_password(guarded, user, "another")
                helper.wait_exit(15)
                log = helper.stderr
                shown = log + key["value"] + processes.stdout.decode(errors="replace")
    assert "POST /v3/auth/authenticate" in log and "'Authorization': '***'" in log
    plain = [password, json.dumps(password)[1:-1], base64.b64encode(f"{user}:{password}".encode()).decode()]
    assert not [secret for secret in plain if secret in shown]
    assert '"token"' not in shown


def test_a_server_that_repeats_what_it_was_told_does_not_bring_it_into_the_log(guarded, conf, lock_name):
    user = add_user(guarded, lock_name)
    with Proxy(guarded.endpoints[0]) as proxy:
        tell = lambda text, path: proxy.answer_with(  # noqa: E731
            500, json.dumps({"message": f"cannot use <{text}>"}, ensure_ascii=False).encode(), matching=path
        )
        tell("secret-token", b"kv/range")
        proxy.answer_with(200, b'{"token":"secret-token"}', matching=b"auth/authenticate")
        with Helper(conf(guarded, user, host=proxy.endpoint, acquire_timeout=2), "-vvv") as helper:
            assert helper.status() == "2"
            helper.wait_exit()
            assert "cannot use <***>" in helper.stderr and "secret-token" not in helper.stderr
        tell(PASSWORD, b"auth/authenticate")
        with Helper(conf(guarded, user, host=proxy.endpoint, acquire_timeout=2), "-vvv") as helper:
            assert helper.status() == "2"
            helper.wait_exit()
            assert "cannot use <***>" in helper.stderr
            assert PASSWORD not in helper.stderr and json.dumps(PASSWORD, ensure_ascii=False) not in helper.stderr


class V2:
    """The view of an etcd's v2 API, with its own users."""

    def __init__(self, etcd):
        self._base = f"http://{etcd.endpoints[0]}/v2"

    def put(self, path, body, user=None):
        headers = {"Content-Type": "application/json"}
        if user:
            headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
        request = urllib.request.Request(self._base + path, json.dumps(body).encode(), headers, method="PUT")
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status


def test_the_v2_api_takes_its_own_user_with_just_the_locks_permission(conf, lock_name):
    with Etcd(1, ["--enable-v2=true"]) as etcd:
        v2 = V2(etcd)
        v2.put("/auth/users/root", {"user": "root", "password": "root"})
        # The directory is read with all that is below it: for that the star must follow its very name.
        paths = [f"/_locks/_ctdb/{lock_name}*"]
        v2.put("/auth/roles/ctdb", {"role": "ctdb", "permissions": {"kv": {"read": paths, "write": paths}}})
        v2.put("/auth/users/ctdb", {"user": "ctdb", "password": "secret", "roles": ["ctdb"]})
        v2.put("/auth/enable", {})
        none = {"kv": {"read": ["/*"], "write": ["/*"]}}
        v2.put("/auth/roles/guest", {"role": "guest", "revoke": none}, "root:root")
        with Helper(conf(etcd, "ctdb", password="secret", api="2")) as helper:
            assert helper.status() == "0", helper.describe()
            with Helper(conf(etcd, "ctdb", password="secret", api="2")) as other:
                assert other.status() == "1"
        line = refusal(conf(etcd, "ctdb", password="wrong-secret", api="2"), "-v")
        assert "check username and password" in line and "wrong-secret" not in line
        assert "role grant ROLE --path '/_locks/_ctdb/NAME*' --readwrite" in line
