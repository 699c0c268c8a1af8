#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""wall_clock.py SECONDS PROGRAM ARGUMENT...: become that program, for which the wall clock is SECONDS ahead.

For programs in Go on x86_64, such as etcd: they ask the clock neither through libc, where libfaketime could answer, nor
through the kernel's entry, where a tracer could, but in the vdso, the code that the kernel maps into each process; and
a time namespace moves only monotonic clocks. So the process's own copy of that code is replaced as soon as the program
is loaded, by a call of the kernel that adds the seconds to CLOCK_REALTIME. The program then runs untraced, as the same
process. If that cannot be done it does not run: exit status 1 or SIGKILL, and the reason on stderr.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys

PTRACE_CONT, PTRACE_DETACH, PTRACE_SEIZE = 7, 17, 0x4206
OPTIONS = 1 << 4 | 1 << 20  # PTRACE_O_TRACEEXEC: stop once the program is loaded; PTRACE_O_EXITKILL
EXEC_STOP = 4 << 8 | signal.SIGTRAP  # PTRACE_EVENT_EXEC
SHT_DYNSYM = 11

# Of clock (edi, CLOCK_REALTIME is 0) and timespec (rsi): mov $228,%eax; syscall; test %eax,%eax; jnz 1f;
# test %edi,%edi; jnz 1f; addq $SECONDS,(%rsi); 1: ret
CLOCK_GETTIME = b"\xb8\xe4\0\0\0\x0f\x05\x85\xc0\x75\x0b\x85\xff\x75\x07\x48\x81\x06%b\xc3"


def ptrace(request: int, pid: int, data: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(ctypes.c_long(request), ctypes.c_long(pid), None, ctypes.c_void_p(data)) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace: {os.strerror(ctypes.get_errno())}")


def find(vdso: bytes, wanted: bytes) -> tuple[int, int]:
    """Offset and size of a function in the vdso, an ELF file."""
    (table,) = struct.unpack_from("<Q", vdso, 40)
    length, count = struct.unpack_from("<HH", vdso, 58)
    # Each section's kind, offset, size, and the number of the one with its strings.
    sections = [struct.unpack_from("<4xI16xQQI20x", vdso, table + length * number) for number in range(count)]
    for kind, start, size, strings in sections:
        for symbol in range(start, start + size, 24) if kind == SHT_DYNSYM else ():
            name, offset, length = struct.unpack_from("<I4xQQ", vdso, symbol)
            if vdso.startswith(wanted + b"\0", sections[strings][1] + name):
                return offset, length
    raise ValueError(f"the vdso has no {wanted.decode()}")


def move_clock(pid: int, seconds: int) -> None:
    """For a process that has just executed its program and has not run a step of it."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        (mapping,) = (line.split("-", 1) for line in maps if line.endswith("[vdso]\n"))
    begin, end = int(mapping[0], 16), int(mapping[1].split(" ", 1)[0], 16)
    code = CLOCK_GETTIME % struct.pack("<i", seconds)
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(begin)
        offset, size = find(memory.read(end - begin), b"__vdso_clock_gettime")
        if size < len(code):
            raise ValueError(f"the vdso's clock_gettime has {size} bytes only")
        memory.seek(begin + offset)
        memory.write(code)


def trace(pid: int, seconds: int, ready: int) -> None:
    """Wait until `pid` has executed its program, move its clock, leave it alone. Until then it dies with us."""
    ptrace(PTRACE_SEIZE, pid, OPTIONS)
    os.write(ready, b".")
    status = os.waitpid(pid, 0)[1]
    while os.WIFSTOPPED(status) and status >> 8 != EXEC_STOP:
        ptrace(PTRACE_CONT, pid, os.WSTOPSIG(status))  # a signal, SIGCHLD for one
        status = os.waitpid(pid, 0)[1]
    if os.WIFSTOPPED(status):
        move_clock(pid, seconds)
        ptrace(PTRACE_DETACH, pid)


def main() -> None:
    pid, seconds, program = os.getpid(), int(sys.argv[1]), sys.argv[2:]
    readable, ready = os.pipe()
    if os.fork() == 0:
        # The program is not left with a child that it does not know.
        if os.fork() == 0:
            trace(pid, seconds, ready)
        os._exit(0)
    os.wait()
    os.close(ready)
    if not os.read(readable, 1):
        sys.exit(1)  # the tracer has given its reason
    os.execvp(program[0], program)


if __name__ == "__main__":
    main()
