# SPDX-License-Identifier: Apache-2.0
"""Give up everything that building an image does not need: done once, by the child, before the first hostile byte.

What remains is reading and writing the files that are open, memory, threads, and the clock. The decompressors are C
libraries; who breaks one of them finds no file to open, no program to run and nobody to talk to.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
from typing import NamedTuple

_NOBODY = 65534
_OPEN_FILES = 512

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE = 0x00050000 | errno.EPERM
_ABSENT = 0x00050000 | errno.ENOSYS
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_CLONE_THREAD, _PROT_EXEC = 0x10000, 4


class _Machine(NamedTuple):
    arch: int
    """AUDIT_ARCH of the machine."""
    plain: str
    """Numbers of the calls in `_PLAIN_CALLS`, in that order."""
    clone: int
    clone3: int
    mapping: tuple[int, int]
    """mmap and mprotect."""


_PLAIN_CALLS = """
    read write close fstat poll|ppoll lseek munmap brk rt_sigaction rt_sigprocmask rt_sigreturn pread64 pwrite64 readv
    writev sched_yield mremap madvise getpid exit fsync ftruncate fcntl sigaltstack gettid futex sched_getaffinity
    restart_syscall clock_gettime clock_nanosleep exit_group newfstatat set_robust_list fallocate preadv pwritev
    getrandom rseq pwritev2
"""
_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        """0 1 3 5 7 8 11 12 13 14 15 17 18 19
        20 24 25 28 39 60 74 77 72 131 186 202 204
        219 228 230 231 262 273 285 295 296
        318 334 328""",
        56,
        435,
        (9, 10),
    ),
    "aarch64": _Machine(
        0xC00000B7,
        """63 64 57 80 73 62 215 214 134 135 139 67 68 65
        66 124 216 233 172 93 82 46 25 132 178 98 123
        128 113 115 94 79 99 47 69 70
        278 293 287""",
        220,
        435,
        (222, 226),
    ),
}

Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _filter(machine: str) -> list[Instruction] | None:
    """The classic BPF program, or None for a machine whose numbers are not known here."""
    known = _MACHINES.get(machine)
    if known is None:
        return None
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, known.arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    for call in map(int, known.plain.split()):
        program += [(_EQUAL, 0, 1, call), (_RETURN, 0, 0, _ALLOW)]
    # No memory that can be run; threads, but no processes. clone3 hides its flags from a filter: libc falls back.
    for call in known.mapping:
        program += [
            (_EQUAL, 0, 4, call),
            (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * 2),
            (_ANY_BIT, 0, 1, _PROT_EXEC),
            (_RETURN, 0, 0, _REFUSE),
            (_RETURN, 0, 0, _ALLOW),
        ]
    program += [
        (_EQUAL, 0, 4, known.clone),
        (_LOAD, 0, 0, _ARGUMENTS_AT),
        (_ANY_BIT, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
        (_EQUAL, 0, 1, known.clone3),
        (_RETURN, 0, 0, _ABSENT),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return program


def _prctl(libc: ctypes.CDLL, option: int, value: int, pointer: object = None) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), pointer, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, f"prctl {option}: {os.strerror(code)}")


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def enter(memory_bytes: int, cpu_seconds: int, file_bytes: int) -> None:
    """Bind this process, and every thread that it starts from now on. There is no way back."""
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CPU, cpu_seconds)
    _limit(resource.RLIMIT_FSIZE, file_bytes)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_CORE, 0)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    libc = ctypes.CDLL(None, use_errno=True)
    # After the change of user, which clears it.
    _prctl(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    program = _filter(platform.machine())
    if program is not None:
        code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
        buffer = ctypes.create_string_buffer(code, len(code))
        packed = _Program(len(program), ctypes.cast(buffer, ctypes.c_void_p))
        _prctl(libc, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(packed))
