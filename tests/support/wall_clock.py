#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""wall_clock.py SECONDS PROGRAM ARGUMENT...: execute a program that sees the wall clock SECONDS ahead.

This works for Go programs on x86_64, such as etcd. They read the clock in the vdso, the code that the kernel maps into
each process. They call neither libc, which libfaketime could intercept, nor the kernel, which a tracer could intercept.
A time namespace moves only monotonic clocks. So this script replaces the process's own copy of the vdso function as
soon as the program is loaded. The new code makes a system call and adds the seconds to CLOCK_REALTIME. The program then
runs untraced, as the same process. If a step fails, the program does not run: the exit status is 1 or the process gets
SIGKILL, and stderr has the reason.
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

# clock_gettime(clock in edi, CLOCK_REALTIME is 0; timespec in rsi): mov $228,%eax; syscall; test %eax,%eax; jnz 1f;
# test %edi,%edi; jnz 1f; addq $SECONDS,(%rsi); 1: ret
CLOCK_GETTIME = b"\xb8\xe4\0\0\0\x0f\x05\x85\xc0\x75\x0b\x85\xff\x75\x07\x48\x81\x06%b\xc3"


def ptrace(request: int, pid: int, data: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(ctypes.c_long(request), ctypes.c_long(pid), None, ctypes.c_void_p(data)) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace: {os.strerror(ctypes.get_errno())}")


def find(vdso: bytes, wanted: bytes) -> tuple[int, int]:
    """Return offset and size of a function in the vdso, an ELF file."""
    (table,) = struct.unpack_from("<Q", vdso, 40)
    length, count = struct.unpack_from("<HH", vdso, 58)
    # Each section's type, offset, size, and the number of its string section.
    sections = [struct.unpack_from("<4xI16xQQI20x", vdso, table + length * number) for number in range(count)]
    for kind, start, size, strings in sections:
        for symbol in range(start, start + size, 24) if kind == SHT_DYNSYM else ():
            name, offset, length = struct.unpack_from("<I4xQQ", vdso, symbol)
            if vdso.startswith(wanted + b"\0", sections[strings][1] + name):
                return offset, length
    raise ValueError(f"the vdso has no {wanted.decode()}")


def move_clock(pid: int, seconds: int) -> None:
    """Replace clock_gettime in the vdso of a process that has loaded its program but not yet run any of it."""
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
    """Wait until `pid` has loaded its program, move its clock and detach. If we die before that, it is killed."""
    ptrace(PTRACE_SEIZE, pid, OPTIONS)
    os.write(ready, b".")
    status = os.waitpid(pid, 0)[1]
    while os.WIFSTOPPED(status) and status >> 8 != EXEC_STOP:
        ptrace(PTRACE_CONT, pid, os.WSTOPSIG(status))  # a signal such as SIGCHLD
        status = os.waitpid(pid, 0)[1]
    if os.WIFSTOPPED(status):
        move_clock(pid, seconds)
        ptrace(PTRACE_DETACH, pid)


def main() -> None:
    pid, seconds, program = os.getpid(), int(sys.argv[1]), sys.argv[2:]
    readable, ready = os.pipe()
    if os.fork() == 0:
        # Fork twice, so that the program has no child that it does not know of.
        if os.fork() == 0:
            trace(pid, seconds, ready)
        os._exit(0)
    os.wait()
    os.close(ready)
    if not os.read(readable, 1):
        sys.exit(1)  # the tracer has printed the reason
    os.execvp(program[0], program)


if __name__ == "__main__":
    main()
