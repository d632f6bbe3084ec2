# SPDX-License-Identifier: Apache-2.0
"""The disk slots of a running VM, whose content is changed under a guest that does not use it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from hypercell.base.errors import Internal, Unavailable
from hypercell.vm import command_line
from hypercell.vm.driver import Disk, Slot
from hypercell.vm.qmp import Answer, Qmp


class Slots:
    """What is in the slots of one VM: block nodes and sets of descriptors, called as the command line calls them, or
    with a number where they came later."""

    def __init__(self, filled: Iterable[Slot] = ()) -> None:
        """*filled*: by the command line."""
        self._sets: dict[Slot, int] = {
            slot: number for number, slot in enumerate(command_line.DISK_SLOTS, start=1) if slot in set(filled)
        }
        """Of the slots with content."""
        self._nodes: dict[Slot, str] = {slot: slot.value for slot in Slot}
        self._next = len(command_line.DISK_SLOTS) + 1
        self._old: list[tuple[str, int]] = []
        """Nodes that are out of their slots, and their sets (0: none)."""

    def of_fork(self) -> Slots:
        """Those of a VM that is forked of this one, as they are now."""
        forked = Slots()
        forked._sets, forked._nodes, forked._next = dict(self._sets), dict(self._nodes), self._next
        return forked

    def fill(self, qmp: Qmp, disks: Mapping[Slot, tuple[Disk, int]]) -> list[Answer]:
        """Have exactly *disks* in the slots, each given with a descriptor. All commands are sent at once; while one of
        them is refused, what is in the slots is not known. Raises `Unavailable`."""
        begun: list[Answer] = []
        for slot in Slot:
            if slot not in disks and slot not in self._sets:
                continue
            number, self._next = self._next, self._next + 1
            node = f"{slot}{number}"
            if slot in disks:
                disk, descriptor = disks[slot]
                begun.append(qmp.begin("add-fd", {"fdset-id": number}, descriptor))
                begun.append(qmp.begin("blockdev-add", command_line.content(node, disk, number)))
            else:
                begun.append(qmp.begin("blockdev-add", command_line.empty(node, slot)))
            device = f"/machine/peripheral/disk-{slot}"
            begun.append(qmp.begin("qom-set", {"path": device, "property": "drive", "value": node}))
            self._replace(slot, node, number if slot in disks else 0)
        return begun

    async def tidy(self, qmp: Qmp) -> None:
        """Remove what was in the slots before: its files are closed."""
        old, self._old = self._old, []
        with contextlib.suppress(Internal, Unavailable):
            begun = [qmp.begin("blockdev-del", {"node-name": node}) for node, _ in old]
            begun += [qmp.begin("remove-fd", {"fdset-id": number}) for _, number in old if number]
            await qmp.answers(begun)

    def _replace(self, slot: Slot, node: str, number: int) -> None:
        self._old.append((self._nodes[slot], self._sets.pop(slot, 0)))
        self._nodes[slot] = node
        if number:
            self._sets[slot] = number
