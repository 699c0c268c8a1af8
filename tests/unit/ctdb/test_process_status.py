# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the status character after an error, and of how stdout ends for CTDB."""

from __future__ import annotations

import errno
import os
import select

import pytest

from ctdb_etcd.ctdb.process import Status, is_scarcity
from tests.support.forks import in_child

SCARCE = [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS]


@pytest.mark.parametrize("error", [*(OSError(number, "x") for number in SCARCE), MemoryError()])
def test_lack_of_descriptors_or_memory_is_scarcity(error):
    assert is_scarcity(error) is True


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "x"), OSError("x"), ValueError("x"), KeyError(errno.EMFILE)])
def test_other_error_is_no_scarcity(error):
    assert is_scarcity(error) is False


# The status character after an error


def streams(action):
    """Return what CTDB reads from stdout, whether stdout has ended, and what is in the log, while the process runs."""

    def child():
        (reader, out), (log, err) = os.pipe2(os.O_NONBLOCK), os.pipe2(os.O_NONBLOCK)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        action(Status())
        read = os.read(reader, 10) if select.select([reader], [], [], 0)[0] else b""
        ended = bool(select.select([reader], [], [], 0)[0]) and os.read(reader, 10) == b""
        try:
            os.write(2, b"log")
            logged = os.read(log, 10)
        except OSError as error:
            logged = error
        return read.decode(), ended, logged

    return in_child(child)


def test_error_before_the_status_is_status_3():
    assert streams(lambda status: status.fail(ValueError("x"))) == "('3', False, b'log')"


def test_scarcity_before_the_status_is_status_2():
    assert streams(lambda status: status.fail(OSError(errno.EMFILE, "x"))) == "('2', False, b'log')"


@pytest.mark.parametrize("error", [ValueError("x"), OSError(errno.EMFILE, "x")])
def test_error_of_a_holder_ends_stdout(error):
    assert streams(lambda status: (status.write("0"), status.fail(error))) == "('0', True, b'log')"


def test_log_takes_the_place_of_stdout():
    def child():
        os.dup2(os.open("/dev/null", os.O_RDONLY), 3)
        os.dup2(os.pipe()[1], 2)
        Status().end()
        return os.readlink("/proc/self/fd/1") == os.readlink("/proc/self/fd/2")

    assert in_child(child) == "True"
