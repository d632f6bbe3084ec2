# SPDX-License-Identifier: Apache-2.0
"""The directory of one VM: `Config.vms/<id>`, of root alone, with a record from which the VM is found again.

It is made before anything else of a VM and removed after everything else, so nothing of a VM exists without it.
All access is relative to a descriptor of the directory: no path is followed twice, and the length of
the path does not matter (that of a UNIX socket's address is limited to 107 bytes).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import socket
import stat
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path

from hypercell.base.errors import Internal, InvalidArgument

AGENT_SOCKET = "agent.sock"
QMP_SOCKET = "qmp.sock"
CONSOLE_SOCKET = "console.sock"
SHARE_SOCKET = "share.sock"
SHARE_DIRECTORY = "share"
"""Empty, but for the server of the host's directories (`sharing`)."""
LOG_PIPE = "log.pipe"
CONSOLE_FILE = "console.log"
LOG_FILE = "hypervisor.log"
HALF_MADE = "half-made"
"""A mark: the VM is a clone that may not know yet what to restore; or others are forked of it, which has it for life.
A daemon that returns removes such a VM."""
_RECORD = "vm.json"
LONGEST_ID = 128
_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST_ID - 1}}}")
_LARGEST_RECORD = 64 * 1024


@cache
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def check_id(vm_id: str) -> str:
    """*vm_id* itself. Raises `InvalidArgument` for one that is no plain file name."""
    if not _ID.fullmatch(vm_id):
        raise InvalidArgument(f"{vm_id[:80]!r} is no id of a VM")
    return vm_id


@dataclass(frozen=True, slots=True)
class Record:
    """What a later daemon must know. `pid` is 0 until the hypervisor runs."""

    born: str
    """The id that the VM was launched by: its hypervisor and its control groups are called so for ever. Its id now is
    the name of the directory, so a VM gets another by one rename, and nothing else has to change with it."""
    uid: int
    accelerator: str
    cgroups: list[str] = field(default_factory=list)
    boot: str = field(default_factory=boot_id)
    pid: int = 0
    start_time: int = 0
    """Of the process, in clock ticks since boot: with the pid, it names one process for ever."""


_MEMBERS = [member.name for member in fields(Record)]


def parse_record(data: bytes) -> Record | None:
    """The record in *data*, or None for anything that is not one."""
    try:
        value = json.loads(data)
        record = Record(**value)
    except (ValueError, TypeError, RecursionError):
        return None
    numbers = (record.uid, record.pid, record.start_time)
    texts = (record.accelerator, record.boot)
    if (
        not isinstance(record.born, str)
        or not _ID.fullmatch(record.born)
        or any(type(n) is not int or n < 0 for n in numbers)
        or not all(isinstance(t, str) for t in texts)
    ):
        return None
    groups = record.cgroups
    if not isinstance(groups, list) or not all(isinstance(g, str) and Path(g).name == record.born for g in groups):
        return None
    return record


def remove(path: Path) -> None:
    """Remove whatever lies at *path*; a symbolic link is removed, not followed."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        else:
            shutil.rmtree(path)


class VmDirectory:
    """An open directory of a VM. Use `create`, `open` or `ids`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    @staticmethod
    def ids(vms: Path) -> list[str]:
        try:
            return sorted(entry.name for entry in os.scandir(vms) if _ID.fullmatch(entry.name))
        except FileNotFoundError:
            return []

    @classmethod
    def create(cls, vms: Path, vm_id: str) -> VmDirectory:
        """Make it. Raises `InvalidArgument` when there is one already, `OSError`."""
        vms.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = vms / check_id(vm_id)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            raise InvalidArgument(f"there is a VM {vm_id} already") from None
        try:
            return cls._opened(path)
        except BaseException:
            path.rmdir()
            raise

    @classmethod
    def open(cls, vms: Path, vm_id: str) -> VmDirectory | None:
        """That of *vm_id*, or None."""
        try:
            return cls._opened(vms / check_id(vm_id))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise

    @classmethod
    def _opened(cls, path: Path) -> VmDirectory:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            os.close(descriptor)
            raise Internal(f"{path} is not ours alone", "look who made it, and remove it")
        return cls(path, descriptor)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def remove(self) -> None:
        """Remove it and all in it. No error when it is gone."""
        self.close()
        remove(self.path)

    def rename(self, vm_id: str) -> None:
        """Call it *vm_id* from now on, in one step. Raises `InvalidArgument` when there is such a VM, `OSError`."""
        path = self.path.with_name(check_id(vm_id))
        # One daemon works here, and does nothing else in between.
        if os.path.lexists(path):
            raise InvalidArgument(f"there is a VM {vm_id} already")
        self.path.rename(path)
        self.path = path

    def inside(self, name: str) -> str:
        """A short path to *name* in this directory, good for `bind` and `connect`."""
        return f"/proc/self/fd/{self.descriptor}/{name}"

    def listen(self, name: str) -> socket.socket:
        """A new listening UNIX socket *name*."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            listener.bind(self.inside(name))
            listener.listen(1)
        except BaseException:
            listener.close()
            raise
        return listener

    def make_pipe(self, name: str) -> int:
        """A descriptor of a new named pipe, good for writing. It counts as a reader too: writing never fails for the
        want of one, and when the pipe is full, what is written is dropped."""
        os.mkfifo(name, 0o600, dir_fd=self.descriptor)
        return self.open_pipe(name)

    def open_pipe(self, name: str) -> int:
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(name, flags, dir_fd=self.descriptor)
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Internal(f"{self.path / name} is no pipe")
        return descriptor

    def mark(self, name: str) -> None:
        """Make an empty file *name*."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o600, dir_fd=self.descriptor))

    def marked(self, name: str) -> bool:
        return os.path.lexists(self.inside(name))

    def unmark(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def write_record(self, record: Record) -> None:
        """Replace the record in one step."""
        temporary = _RECORD + ".new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(temporary, flags, 0o600, dir_fd=self.descriptor)
        try:
            os.write(descriptor, json.dumps({name: getattr(record, name) for name in _MEMBERS}).encode())
        finally:
            os.close(descriptor)
        os.replace(temporary, _RECORD, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def read_record(self) -> Record | None:
        """The record, or None when there is none or it makes no sense (a launch that was cut short)."""
        try:
            descriptor = os.open(_RECORD, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.descriptor)
        except FileNotFoundError:
            return None
        with open(descriptor, "rb") as file:  # noqa: PTH123
            return parse_record(file.read(_LARGEST_RECORD))
