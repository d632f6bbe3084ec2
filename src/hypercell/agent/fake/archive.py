# SPDX-License-Identifier: Apache-2.0
"""`archive.*` of a fake guest, over the in-memory root of a container."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Any, Final

from hypercell.agent.fake.link import Request
from hypercell.agent.fake.members import GuestError, number_of, path_of
from hypercell.agent.fake.process import Container
from hypercell.agent.fake.tree import Exists

if TYPE_CHECKING:
    from hypercell.agent.fake.guest import FakeGuest

_LIMIT: Final = 256 * 1024 * 1024
_PIECE: Final = 65536


def look(container: Container, members: dict[str, Any]) -> dict[str, Any]:
    path = path_of(members)
    found = container.tree.stat(path)
    if found is None:
        raise GuestError("not-found", f"{path}: no such file or directory")
    return {"stat": found}


def get(guest: FakeGuest, container: Container, members: dict[str, Any]) -> dict[str, Any]:
    answer = look(container, members)
    _send(guest, members, container.tree.pack(path_of(members)))
    return answer


def export(guest: FakeGuest, container: Container, members: dict[str, Any]) -> dict[str, Any]:
    _send(guest, members, container.tree.pack("/"))
    return {}


def layer(guest: FakeGuest, container: Container, members: dict[str, Any]) -> dict[str, Any]:
    _send(guest, members, container.tree.pack_added())
    return {}


def changes(guest: FakeGuest, container: Container, members: dict[str, Any]) -> dict[str, Any]:
    added = b"".join(b"A" + path.encode(errors="surrogateescape") + b"\0" for path in container.tree.added())
    _send(guest, members, added + b".\0")
    return {}


def _send(guest: FakeGuest, members: dict[str, Any], data: bytes) -> None:
    ring = guest.new_output(number_of(members, "stream"))
    rest = memoryview(data)

    def more() -> None:
        nonlocal rest
        if ring.done:
            guest.outputs.pop(ring.stream, None)
            return
        rest = rest[ring.write(rest) :]
        if not rest:
            ring.close()

    ring.on_space = more
    more()


def put(guest: FakeGuest, container: Container, request: Request) -> None:
    """Answers the request when the archive has come."""
    tree, path = container.tree, path_of(request.members)
    if not tree.is_directory(path):
        raise GuestError("not-found", f"{path}: no such directory")
    keep = bool(request.members.get("no_overwrite_dir_non_dir"))
    queue = guest.new_input(number_of(request.members, "stream"))
    came = bytearray()

    def more() -> None:
        while data := queue.take(_PIECE):
            came.extend(data)
        if len(came) > _LIMIT:
            request.fail("no-space", "the archive is too large")
        elif not queue.at_end:
            return
        else:
            try:
                tree.unpack(path, bytes(came), keep)
                request.reply({})
            except Exists as error:
                request.fail("exists", f"{error}: cannot overwrite directory and non-directory")
            except tarfile.TarError as error:
                request.fail("invalid", f"archive: {error}")
        guest.inputs.pop(queue.stream, None)

    queue.on_input = more
