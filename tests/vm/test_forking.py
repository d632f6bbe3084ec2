# SPDX-License-Identifier: Apache-2.0
"""Whether a program's machines can be forked, and what of a template's slots goes with a fork."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from hypercell.vm import processes
from hypercell.vm.command_line import DISK_SLOTS
from hypercell.vm.driver import Disk, Slot
from hypercell.vm.forking import LivingTemplate, can_fork
from hypercell.vm.qmp import Answer
from hypercell.vm.slots import Slots


def program(path: Path, version: str, status: int = 0) -> str:
    """One that says that of itself. It is another file each time."""
    new = path.with_suffix(".new")
    new.write_text(f'#!/bin/sh\necho run >> {path}.runs\necho "{version}"\nexit {status}\n')
    new.chmod(0o755)
    new.replace(path)
    return str(path)


def test_what_says_that_it_forks_does(tmp_path: Path) -> None:
    assert can_fork(program(tmp_path / "q", "QEMU emulator version 7.2 (hypercell slim with forks and zygotes)"), "tcg")
    assert not can_fork(program(tmp_path / "r", "QEMU emulator version 7.2 (Debian)"), "tcg")
    assert not can_fork(program(tmp_path / "s", "with forks and zygotes", status=1), "tcg")
    assert not can_fork(str(tmp_path / "missing"), "tcg")
    assert not can_fork(str(tmp_path), "tcg")


def test_a_program_is_asked_once_until_it_is_another(tmp_path: Path) -> None:
    path = tmp_path / "q"
    for _ in range(3):
        assert can_fork(program(path, "with forks and zygotes") if not path.exists() else str(path), "tcg")
    assert (tmp_path / "q.runs").read_text() == "run\n"
    program(path, "without")
    assert not can_fork(str(path), "tcg")
    program(path, "with forks and zygotes")
    assert can_fork(str(path), "tcg")


def test_what_the_processor_runs_itself_is_not_forked(tmp_path: Path) -> None:
    path = program(tmp_path / "q", "with forks and zygotes")
    assert not can_fork(path, "kvm")
    assert can_fork(path, "tcg")


class Told:
    """Instead of a control connection: what was said on it."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, dict[str, object]]] = []

    def begin(self, command: str, arguments: dict[str, object] | None = None, *descriptors: int) -> Answer:
        self.commands.append((command, dict(arguments or {})))
        return Answer(command, 0, None)  # type: ignore[arg-type]

    async def answers(self, begun: list[Answer]) -> list[object]:
        return [{} for _ in begun]

    def nodes(self) -> list[object]:
        return [arguments["node-name"] for command, arguments in self.commands if command == "blockdev-add"]


def test_what_a_fork_has_in_its_slots_is_its_own_matter() -> None:
    disk = (Disk(Path("/d"), read_only=True), 9)
    origin = Slots([Slot.ROOT])
    one, other = origin.of_fork(), origin.of_fork()
    told, again, afterwards = Told(), Told(), Told()
    one.fill(told, {Slot.WRITABLE: disk})  # type: ignore[arg-type]
    other.fill(again, {Slot.WRITABLE: disk})  # type: ignore[arg-type]
    assert told.commands == again.commands, "what the first did is not known to the second"
    late = origin.of_fork()
    late.fill(afterwards, {Slot.WRITABLE: disk})  # type: ignore[arg-type]
    assert afterwards.commands == told.commands
    assert len(told.nodes()) == 2, "the template's disk is taken out, the fork's is put in"


async def test_a_fork_does_not_remove_what_its_template_has_removed() -> None:
    origin, before, told = Slots([Slot.ROOT]), Told(), Told()
    origin.fill(before, {})  # type: ignore[arg-type]
    fork = origin.of_fork()
    assert fork.fill(told, {}) == [], "nothing is in there any more"  # type: ignore[arg-type]
    await fork.tidy(told)  # type: ignore[arg-type]
    assert told.commands == []


def test_numbers_of_a_fork_go_on_where_its_templates_were() -> None:
    origin, before, told = Slots(DISK_SLOTS), Told(), Told()
    origin.fill(before, {})  # type: ignore[arg-type]
    origin.of_fork().fill(told, {slot: (Disk(Path("/d"), True), 9) for slot in DISK_SLOTS})  # type: ignore[arg-type]
    assert not set(before.nodes()) & set(told.nodes())


class Slow:
    """Instead of a VM that is forked: takes its time, and counts who waits for it."""

    def __init__(self) -> None:
        self.slots = Slots()
        self.waiting = self.most = 0

    async def fork(self, name: str, user: int, descriptors: list[int], apart: bool) -> int:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        for _ in range(5):
            await asyncio.sleep(0)
        self.waiting -= 1
        return user


async def test_a_template_is_told_of_no_more_forks_at_once_than_its_socket_takes() -> None:
    vm = Slow()
    template = LivingTemplate("key", vm, 1, lambda: None)  # type: ignore[arg-type]
    forks = await asyncio.gather(*(template.fork(f"v{user}", user, []) for user in range(300)))
    assert [pid for pid, _ in forks] == list(range(300))
    assert vm.most == 16


@pytest.mark.parametrize("first", [*"0123456789abcdefxyz"])
@pytest.mark.parametrize("padded", [False, True])
def test_a_hypervisor_is_found_by_its_name_however_that_begins(
    first: str, padded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forked one has its name in the place of a longer one."""
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    name = first + "7" * 63
    for pid, called in ((100, "1" + name), (101, name + "1"), (102, name), (103, "other")):
        (tmp_path / str(pid)).mkdir()
        words = ["/usr/bin/qemu", "-name", called.ljust(128) if padded else called, "-nodefaults", ""]
        (tmp_path / str(pid) / "cmdline").write_bytes("\0".join(words).encode())
    assert processes.find_hypervisor(os.getuid(), name) == 102
    assert processes.find_hypervisor(os.getuid() + 1, name) == 0
    assert processes.find_hypervisor(os.getuid(), name[:-1]) == 0
