# SPDX-License-Identifier: Apache-2.0
"""The daemon's places on this machine: its directories, the lock on them, its socket."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import socket
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

from hypercell.base.config import Config
from hypercell.base.errors import Conflict, Internal, InvalidArgument

_MODE = 0o711
"""Others may pass through to what is theirs (a hypervisor's user to its VM's directory), and list nothing."""


def prepare(config: Config) -> None:
    """Make the directories. Raises `Internal` where that is not permitted, or where others could put files or links
    into them (CVE-2026-1386 was one)."""
    try:
        for directory in (config.root, config.run):
            directory.mkdir(mode=_MODE, parents=True, exist_ok=True)
            status = directory.stat()
            if os.geteuid() != 0 and status.st_uid != os.geteuid():
                raise Internal(f"{directory} is another user's", "run hypercelld as root, or set `root` and `run`")
            if status.st_uid != os.geteuid() or status.st_mode & stat.S_IWOTH:
                raise Internal(f"others may write to {directory}", f"look who made it, then: chown root {directory}")
    except OSError as error:
        raise Internal(
            f"cannot make {error.filename}: {error.strerror}", "run hypercelld as root, or set `root` and `run`"
        ) from error


@contextlib.contextmanager
def locked(config: Config) -> Iterator[None]:
    """Hold the state directory and the run directory for this daemon alone. Raises `Conflict`."""
    with contextlib.ExitStack() as stack:
        for directory in dict.fromkeys((config.root, config.run)):
            stack.enter_context(_lock(directory))
        yield


@contextlib.contextmanager
def _lock(directory: Path) -> Iterator[None]:
    path = directory / "hypercelld.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read(20).strip() or "unknown"
            raise Conflict(
                f"another hypercelld (process {owner}) is using {directory}",
                "stop it, or give this one a `root`, a `run`, a `bridge` and a `subnet` of its own",
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def bind_socket(config: Config) -> socket.socket:
    """The listening socket, mode 0660 and of the configured group from its first moment on.

    What an earlier daemon left is replaced. Raises `Conflict` when somebody answers there, `InvalidArgument`.
    """
    path = config.socket
    if len(bytes(path)) > 100:
        raise InvalidArgument(f"the socket's path {path} is too long", "set a shorter `run`")
    try:
        group = grp.getgrnam(config.group).gr_gid
    except KeyError:
        raise InvalidArgument(f"there is no group {config.group!r}", "set `group` to one that exists") from None
    if _answers(path):
        raise Conflict(f"somebody else serves {path}", "stop that daemon")
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(fresh))
        fresh.chmod(0o660)
        os.chown(fresh, -1, group)
        listener.listen(1024)
        fresh.rename(path)
    except OSError as error:
        listener.close()
        raise Internal(f"cannot make the socket {path}: {error.strerror}") from error
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def engine_id(config: Config) -> str:
    """This engine's id, made once and kept with the state."""
    path = config.root / "engine-id"
    with contextlib.suppress(OSError, ValueError):
        return str(uuid.UUID(path.read_text().strip()))
    fresh = str(uuid.uuid4())
    path.write_text(f"{fresh}\n")
    return fresh
