# SPDX-License-Identifier: Apache-2.0
"""What of the host's files a VM may see: a server of its own (virtiofsd) for what is listed, and nothing else
(docs/adr/0017-host-directories.md)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from hypercell.base.config import built
from hypercell.base.errors import InvalidArgument, Unsupported
from hypercell.vm import records, spawn
from hypercell.vm.driver import Shared
from hypercell.vm.records import VmDirectory

SERVER = "/usr/lib/qemu/virtiofsd"
"""Of Debian's package qemu-system-common."""
PREPARER = built("share")
"""hypervisor/launch/share.c"""
MOST = 256
_FILES = 1 << 19
"""How many files a guest may know of there at once: each that it has looked at is open in the server until the guest
forgets it, so it must be more than people have in a tree of sources."""
_KERNEL = Path("/proc/sys/fs")
_OPTIONS = (
    # Directories below which another file system begins are so for the guest too: numbers of files are unique.
    *("-o", "announce_submounts"),
    *("-o", "sandbox=namespace"),
    *("-o", "cache=auto"),
    *("-o", "xattr"),
    # Device nodes are for the host's own hand.
    *("-o", "modcaps=-mknod"),
    "--thread-pool-size=0",
)


def possible() -> bool:
    return os.access(SERVER, os.X_OK)


def serve(directory: VmDirectory, shared: Sequence[Shared], entrances: list[int], output: int) -> tuple[int, int]:
    """Start the server of the VM in *directory*: its process number, and a socket that is connected to it. It ends when
    that is closed, and nobody else can connect. *entrances* are those of the VM's control groups.

    Raises `InvalidArgument` for what is not there, `Unsupported` without a server, `OSError`.
    """
    if len(shared) > MOST:
        raise InvalidArgument(f"a VM sees at most {MOST} places of the host, not {len(shared)}")
    if not possible():
        raise Unsupported(f"files of the host are served by {SERVER}, which is missing", "install qemu-system-common")
    with contextlib.ExitStack() as ours:
        descriptors = list(_open(shared, ours))
        listener = ours.enter_context(directory.listen(records.SHARE_SOCKET))
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        undo = ours.enter_context(contextlib.ExitStack())
        undo.callback(connected.close)
        connected.connect(directory.inside(records.SHARE_SOCKET))
        (directory.path / records.SHARE_SOCKET).unlink()
        place = directory.path / records.SHARE_DIRECTORY
        place.mkdir(mode=0o700)
        listed = ",".join(
            f"{number}{'r' * one.read_only}{'s' * (not one.recursive)}"
            for number, one in zip(descriptors, shared, strict=True)
        )
        socket_ = str(listener.fileno())
        server = [SERVER, f"--fd={socket_}", "-o", f"source={place}", f"--rlimit-nofile={most_files()}", *_OPTIONS]
        words = [",".join(map(str, entrances)), listed, str(place), socket_, *server]
        pid = spawn.execute(PREPARER, words, [*entrances, *descriptors, listener.fileno()], output)
        undo.pop_all()
    return pid, connected.detach()


def most_files(kernel: Path = _KERNEL) -> int:
    """As many as this machine bears, whatever the daemon itself may have: the server raises its limit before it gives
    up its rights. Of all files that there can be, one VM gets a quarter."""
    a_process, all_ = (int((kernel / name).read_text()) for name in ("nr_open", "file-max"))
    return min(_FILES, a_process, all_ // 4)


def _open(shared: Sequence[Shared], ours: contextlib.ExitStack) -> Iterator[int]:
    for one in shared:
        try:
            descriptor = os.open(one.path, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidArgument(f"cannot share {one.path}: {error.strerror}") from error
        ours.callback(os.close, descriptor)
        yield descriptor
