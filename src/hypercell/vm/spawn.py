# SPDX-License-Identifier: Apache-2.0
"""Starting a hypervisor: as a user of its own, in a session of its own, with nothing inherited but what is listed."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

from hypercell.base.config import built
from hypercell.base.errors import InvalidArgument, VmFailed
from hypercell.vm.driver import SLOT_BYTES

LAUNCHER = built("launch")
"""hypervisor/launch/launch.c"""
_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
"""None is ignored: Python ignores some, and `nohup` or a shell that starts us in the background has us ignore more."""
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def open_disk(path: Path, read_only: bool) -> int:
    """A descriptor of a disk's content, which is made as large as a slot. What is read-only is opened so: no guest and
    no hypervisor can write it.

    Raises `InvalidArgument` for what is no regular file, reached without a symbolic link in the last place, and for
    what does not fit into a slot; `OSError` when the file system does not bear files of that size.
    """
    flags = (os.O_RDONLY if read_only else os.O_RDWR) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise InvalidArgument(f"cannot open the disk {path}: {error.strerror}") from error
    try:
        _fill_slot(path, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _fill_slot(path: Path, descriptor: int) -> None:
    """Extend it, sparsely, to the size of a slot: a guest reads the size of a disk when it finds the device, and a
    clone found its devices before it was a clone."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise InvalidArgument(f"the disk {path} is no regular file")
    if status.st_size > SLOT_BYTES:
        raise InvalidArgument(f"the disk {path} is larger than a slot, which has {SLOT_BYTES} bytes")
    if status.st_size < SLOT_BYTES:
        os.truncate(f"/proc/self/fd/{descriptor}", SLOT_BYTES)  # the very file, though it is open for reading only


def open_boot_file(path: Path) -> int:
    """A descriptor of a kernel or initramfs, which hypervisors must be allowed to read. Raises `VmFailed`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise VmFailed(f"cannot open {path}: {error.strerror}", "hypervisor-failed", "run make guest") from error
    if not os.fstat(descriptor).st_mode & stat.S_IROTH:
        os.close(descriptor)
        raise VmFailed(f"others may not read {path}, as hypervisors must", "hypervisor-failed", f"chmod a+r {path}")
    return descriptor


def spawn(
    command: list[str],
    user: int,
    groups: list[int],
    entrances: list[int],
    inherited: list[int],
    output: int,
    forking: bool = False,
) -> int:
    """Start *command* and return its process number; the caller waits for it. *entrances* are those of its control
    groups; *forking*: it may become other users. Raises `OSError`."""
    # Between fork and exec, the page tables of a daemon with many VMs would be copied, which takes milliseconds.
    names = (",".join(map(str, numbers)) for numbers in (groups, entrances, inherited))
    words = [*(["--may-change-user"] * forking), str(user), *names, *command]
    return execute(LAUNCHER, words, [*entrances, *inherited], output)


def execute(program: Path, words: list[str], inherited: list[int], output: int) -> int:
    """Start *program* in a session of its own, with the descriptors *inherited*, for its own hand to close. Its process
    number; the caller waits for it. Raises `OSError`."""
    return os.posix_spawn(
        program,
        [program.name, *words],
        _ENVIRONMENT,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            *((os.POSIX_SPAWN_DUP2, output, number) for number in (1, 2)),
            # Which makes them inheritable.
            *((os.POSIX_SPAWN_DUP2, number, number) for number in inherited),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=_SIGNALS,
    )
