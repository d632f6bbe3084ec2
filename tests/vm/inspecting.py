# SPDX-License-Identifier: Apache-2.0
"""What a hypervisor is and has, seen from outside: by its control socket, and by what the host's kernel tells."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypercell.vm.qemu_vm import QemuVm

PROC = Path("/proc")
_SYS_KCMP, _KCMP_FILE = 312, 0


async def ask(vm: QemuVm, command: str, **arguments: object) -> Any:
    """Its answer to a command of QMP."""
    assert vm._qmp is not None
    return await vm._qmp.execute(command, **arguments)


async def inserted(vm: QemuVm) -> dict[str, str]:
    """Slot -> path of what is in it, by what is really open."""
    found = {}
    for block in await ask(vm, "query-block"):
        node = block["inserted"]
        if node["drv"] == "raw":
            slot = re.sub(r".*disk-([a-z]+).*", r"\1", block["qdev"])
            number = re.sub(r".*/", "", node["image"]["filename"])
            found[slot] = number
    sets = {str(each["fdset-id"]): each["fds"][0]["fd"] for each in await ask(vm, "query-fdsets")}
    return {slot: str((PROC / str(vm.pid) / "fd" / str(sets[n])).readlink()) for slot, n in found.items()}


def status(pid: int, task: int = 0) -> dict[str, str]:
    """/proc/PID/status, of one thread if *task* is given."""
    place = PROC / str(pid) / "task" / str(task) if task else PROC / str(pid)
    lines = (place / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def threads(pid: int) -> list[int]:
    return [int(entry.name) for entry in (PROC / str(pid) / "task").iterdir()]


def children() -> set[int]:
    """Of this process, zombies too."""
    found = set()
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                    found.add(int(entry.name))
    return found


def shared_files(one: int, other: int) -> list[str]:
    """What open files (not: what names) two processes have in common."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = []
    for (mine, path), (theirs, _) in ((a, b) for a in _numbers(one) for b in _numbers(other)):
        answer = libc.syscall(_SYS_KCMP, one, other, _KCMP_FILE, mine, theirs)
        if answer < 0 and ctypes.get_errno() != errno.EBADF:  # closed meanwhile
            raise OSError(ctypes.get_errno(), f"kcmp: {errno.errorcode[ctypes.get_errno()]}")
        if answer == 0:
            found.append(path)
    return found


def _numbers(pid: int) -> Iterator[tuple[int, str]]:
    for entry in (PROC / str(pid) / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield int(entry.name), str(entry.readlink())


def writable_shared_mappings(pid: int) -> list[str]:
    lines = (PROC / str(pid) / "maps").read_text().splitlines()
    return [line for line in lines if re.fullmatch(r".w.s", line.split()[1])]


def memory(pid: int) -> dict[str, int]:
    """Bytes, as /proc/PID/smaps_rollup names them."""
    lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


def pages_shared(pid: int) -> int:
    """How many pages that are no file's it has in common with another process (mm/pagemap.rst of Linux). The one page
    of zeros, which everybody has that has only read, does not count."""
    found = 0
    with (PROC / str(pid) / "mem").open("rb", 0) as content, (PROC / str(pid) / "pagemap").open("rb", 0) as pages:
        for start, end in re.findall(r"(?m)^(\w+)-(\w+) r", (PROC / str(pid) / "maps").read_text()):
            first, last = int(start, 16) >> 12, int(end, 16) >> 12
            pages.seek(first << 3)
            for number, (entry,) in enumerate(struct.iter_unpack("=Q", pages.read((last - first) << 3)), first):
                present, of_a_file, exclusive = entry >> 63 & 1, entry >> 61 & 1, entry >> 56 & 1
                if present and not of_a_file and not exclusive:
                    content.seek(number << 12)
                    found += any(content.read(4096))
    return found


def guest_memory(pid: int, size: int) -> bytes:
    """What the hypervisor has of its guest's memory, which is *size* bytes, without what is not there."""
    found = bytearray()
    with (PROC / str(pid) / "mem").open("rb", 0) as content, (PROC / str(pid) / "pagemap").open("rb", 0) as pages:
        for start, end in re.findall(r"(?m)^(\w+)-(\w+) rw", (PROC / str(pid) / "maps").read_text()):
            first, last = int(start, 16), int(end, 16)
            if last - first != size:
                continue
            pages.seek(first >> 12 << 3)
            for number in range(size >> 12):
                if int.from_bytes(pages.read(8), "little") >> 62:  # present, or swapped out
                    content.seek(first + (number << 12))
                    found += content.read(4096)
    return bytes(found)
