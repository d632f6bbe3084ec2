# SPDX-License-Identifier: Apache-2.0
"""The hub of a running VM, into which disks are plugged: as many as are wanted, while the guest runs
(docs/adr/0015-a-hub-for-disks.md)."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
from collections.abc import Iterator

from hypercell.base.errors import Conflict, HypercellError, Internal, InvalidArgument, Unavailable
from hypercell.vm import command_line, spawn
from hypercell.vm.driver import Disk, Slot
from hypercell.vm.qmp import Qmp

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,19}")
"""What a serial can be in the agent protocol, and both halves of a name of QEMU's."""
_TARGETS = 256
"""Of a virtio-scsi controller (virtio 1.2, 5.6.4)."""
_TAKEN = "already used"
"""In QEMU's words, as the next."""
_LOCKED = re.compile(r"Failed to get (shared )?\"[a-z ]+\" lock")


def check_name(name: str) -> None:
    """Raise `InvalidArgument` for what cannot be the serial of a plugged disk."""
    if not _NAME.fullmatch(name) or name in set(Slot):
        raise InvalidArgument(f"{name[:40]!r} cannot be the name of a disk", "it is 1 to 20 of a-z, 0-9 and -")


async def names(qmp: Qmp) -> set[str]:
    """Of the disks in the hub. Raises `Internal`, `Unavailable`."""
    listed = await qmp.execute("qom-list", path="/machine/peripheral")
    devices = listed if isinstance(listed, list) else []
    found = {str(device.get("name")) for device in devices if isinstance(device, dict)}
    prefix = _node("")
    return {name.removeprefix(prefix) for name in found if name.startswith(prefix)}


async def plug(qmp: Qmp, name: str, disk: Disk, targets: Iterator[int]) -> None:
    """Give the guest *disk*, by the serial *name*, at the first of *targets* that is free. Nothing is left on an error.
    Raises `InvalidArgument` for a disk that is none, `Conflict` for one that another VM has, `Internal` for QEMU's
    refusal, `Unavailable`."""
    node = _node(name)
    descriptor = spawn.open_disk(disk.path, disk.read_only)
    try:
        added = qmp.begin("add-fd", {"opaque": node}, descriptor)
    finally:
        os.close(descriptor)
    (answer,) = await qmp.answers([added])
    number = answer.get("fdset-id") if isinstance(answer, dict) else None
    if type(number) is not int:
        raise Internal("the hypervisor put a disk nowhere")
    device: dict[str, object] = {
        "driver": "scsi-hd",
        "bus": f"{command_line.HUB}.0",
        "id": node,
        "drive": node,
        "serial": name,
        # A full host is an I/O error in the guest, as for the disks in the slots.
        "rerror": "report",
        "werror": "report",
    }
    try:
        # The set goes with its last file: from here on the node holds it.
        begun = [
            qmp.begin("blockdev-add", command_line.plugged(node, disk, number)),
            qmp.begin("remove-fd", {"fdset-id": number}),
        ]
        await qmp.answers(begun)
        await _add(qmp, device, targets)
    except HypercellError as error:
        await _forget(qmp, node, number)
        if isinstance(error, Internal) and _LOCKED.search(error.message):
            raise Conflict(f"another VM has the disk {disk.path}", "it must end first") from error
        raise


async def _add(qmp: Qmp, device: dict[str, object], targets: Iterator[int]) -> None:
    for target in itertools.islice(targets, _TARGETS):
        try:
            await qmp.answers([qmp.begin("device_add", {**device, "scsi-id": target, "lun": 0})])
        except Internal as error:
            if _TAKEN not in error.message:
                raise
        else:
            return
    raise Unavailable(f"a VM has room for {_TARGETS} plugged disks", "mount directories of one volume")


def new_targets() -> Iterator[int]:
    """Places in the hub, each as long as possible after it was taken before: a guest may still believe in a disk that
    is gone."""
    first = secrets.randbelow(_TARGETS)
    return ((first + number) % _TARGETS for number in itertools.count())


async def unplug(qmp: Qmp, name: str) -> None:
    """Take the disk away from the guest, which must have let go of it, and close its file. One at a time. Raises as
    `plug`."""
    # The answer says that the guest has no such disk any more, the event that nobody in the hypervisor has.
    await qmp.answers([qmp.expect("DEVICE_DELETED"), qmp.begin("device_del", {"id": _node(name)})])
    await qmp.answers([qmp.begin("blockdev-del", {"node-name": _node(name)})])


async def _forget(qmp: Qmp, node: str, number: int) -> None:
    with contextlib.suppress(Internal, Unavailable):
        await qmp.answers([qmp.begin("blockdev-del", {"node-name": node})])
    with contextlib.suppress(Internal, Unavailable):
        await qmp.answers([qmp.begin("remove-fd", {"fdset-id": number})])


def _node(name: str) -> str:
    return f"{command_line.HUB}-{name}"
