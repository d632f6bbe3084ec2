# SPDX-License-Identifier: Apache-2.0
"""Clones of a template of either kind: each kernel's run, share nothing that can be changed, and end for reasons that
are told."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hypercell.base.errors import InvalidArgument, VmFailed
from hypercell.vm.cgroups import CgroupTree
from hypercell.vm.driver import DEVICE_MAC, SLOT_BYTES, Disk, ExitReason, Nic, Slot, Template, Vm
from hypercell.vm.qemu_vm import QemuVm
from tests.support.house import eventually
from tests.support.vm import KINDS, boot_id, greet, image, open_files, settings_for
from tests.vm.guest_tools import panicking
from tests.vm.inspecting import ask, inserted
from tests.vm.rig import Rig, cloned, traceless_rig

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture(params=[f"{kind}-{kernel}" for kind in KINDS for kernel in ("own", "distribution")])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    kind, kernel = request.param.split("-")
    config = settings_for(kind, tmp_path, kernel=kernel)
    async with traceless_rig(config) as rig:
        yield rig


@pytest.fixture
async def template(rig: Rig) -> AsyncIterator[Template]:
    made = await rig.template()
    yield made
    made.close()


async def test_what_one_clone_changes_no_other_sees(rig: Rig, template: Template) -> None:
    names = []
    for number in range(2):
        agent = await greet(await cloned(rig, template))
        assert agent.welcome.fresh
        assert agent.welcome.boot_id == ""
        await agent.request("configure", {"hostname": f"clone{number}"})
        names.append(await boot_id(agent))
        await agent.close()
    late = await greet(await cloned(rig, template))
    assert late.welcome.fresh
    names.append(await boot_id(late))
    await late.close()
    assert len(set(names)) == 3


async def test_each_clone_has_its_own_disks_and_no_other(rig: Rig, template: Template, tmp_path: Path) -> None:
    root = Disk(image(tmp_path / "root.img"), read_only=True)
    specs = [rig.specification(template=template) for _ in range(2)]
    specs = [replace(spec, disks={**spec.disks, Slot.ROOT: root}) for spec in specs]
    for spec in specs:
        vm = await rig.driver.launch(spec)
        assert isinstance(vm, QemuVm)
        await vm.running()
        assert await inserted(vm) == {slot: str(disk.path) for slot, disk in spec.disks.items()}


async def test_a_hypervisor_that_refuses_to_be_a_clone_says_why(rig: Rig, template: Template) -> None:
    first = rig.specification()
    await rig.driver.launch(first)
    thief = await cloned(rig, template, disks=first.disks)
    end = await thief.wait()
    assert end.reason is ExitReason.FAILED
    assert "lock" in end.detail


async def test_several_processors_are_cloned_too(rig: Rig) -> None:
    template = await rig.template(vcpus=2)
    agents = [await greet(await cloned(rig, template, vcpus=2)) for _ in range(2)]
    for agent in agents:
        assert await agent.request("ping") == {}
        await agent.close()
    template.close()


async def test_a_claim_puts_exactly_its_disks_into_the_slots(rig: Rig, template: Template, tmp_path: Path) -> None:
    vm = await cloned(rig, template, disks={Slot.ROOT: Disk(image(tmp_path / "sample"), read_only=True)})
    agent = await greet(vm)
    wanted = rig.specification()
    await rig.driver.claim(vm.id, wanted)
    assert await inserted(vm) == {Slot.WRITABLE: str(wanted.disks[Slot.WRITABLE].path)}
    assert vm.slots is not None
    await asyncio.gather(*vm._tasks[-1:])
    assert str(tmp_path / "sample") not in open_files(vm.pid)
    blocks = {block["inserted"]["node-name"]: block["inserted"] for block in await ask(vm, "query-block")}
    assert {block["image"]["virtual-size"] for block in blocks.values()} == {SLOT_BYTES}
    assert sorted(block["ro"] for block in blocks.values()) == [False, True]
    assert await agent.request("ping") == {}
    await agent.close()


async def test_a_disk_that_is_claimed_is_locked(rig: Rig, template: Template) -> None:
    first, second = [await cloned(rig, template, disks={}) for _ in range(2)]
    disks = rig.specification().disks
    await rig.driver.claim(first.id, rig.specification(disks=disks))
    with pytest.raises(VmFailed) as caught:
        await rig.driver.claim(second.id, rig.specification(disks=disks))
    assert "lock" in caught.value.message


async def test_a_claim_limits_the_processor(rig: Rig, template: Template) -> None:
    vm = await cloned(rig, template, disks={})
    born = vm.id
    await rig.driver.claim(born, rig.specification(cpu_quota=0.5))
    groups = CgroupTree.of_host(rig.config.run).directories(born)
    limits = [
        (group / name).read_text().split()[0]
        for group in groups
        for name in ("cpu.cfs_quota_us", "cpu.max")
        if (group / name).exists()
    ]
    assert limits == ["50000"]


async def test_a_claimed_vm_keeps_its_console_and_log_under_its_new_name(rig: Rig, template: Template) -> None:
    vm = await cloned(rig, template, disks={})
    spec = rig.specification()
    await rig.driver.claim(vm.id, spec)
    vm._console.append(b"later words\n")
    assert "later words" in (rig.config.vms / spec.id / "console.log").read_text()
    assert "later words" in await vm.console()


async def test_the_name_that_a_claimed_vm_was_born_by_is_not_given_again(rig: Rig, template: Template) -> None:
    vm = await cloned(rig, template, disks={})
    born = vm.id
    await rig.driver.claim(born, rig.specification())
    with pytest.raises(InvalidArgument):
        await rig.driver.launch(rig.specification(id=born))
    await rig.driver.discard(born)
    agent = await greet(vm)
    await agent.close()


async def test_files_behind_slots_are_long_and_take_no_room(rig: Rig) -> None:
    spec = rig.specification()
    await rig.driver.launch(spec)
    status = spec.disks[Slot.WRITABLE].path.stat()
    assert status.st_size == SLOT_BYTES
    assert status.st_blocks * 512 < 1024**2


async def test_a_clone_that_is_killed_shut_down_or_resets_tells_which(rig: Rig, template: Template) -> None:
    killed, ended, reset = [await cloned(rig, template) for _ in range(3)]
    rig.murder(killed)
    end = await killed.wait()
    assert end.reason is ExitReason.KILLED
    assert "SIGKILL" in end.detail
    for vm, expected, reason in ((ended, True, ExitReason.SHUTDOWN), (reset, False, ExitReason.GUEST_RESET)):
        agent = await greet(vm)
        if expected:
            vm.expect_shutdown()
        await agent.request("shutdown", {"timeout_ms": 1000})
        assert (await vm.wait()).reason is reason
        await agent.close()


async def test_the_panic_of_a_clone_is_told_in_the_kernels_words(rig: Rig) -> None:
    kernel = replace(rig.kernel, initrd=panicking(rig.kernel.initrd, rig.config.root, pause=4.0))

    async def booted(vm: Vm) -> None:
        async def idle() -> bool:
            before = await vm.host_usage()
            await asyncio.sleep(0.3)
            return (await vm.host_usage()).cpu_ns - before.cpu_ns < 15_000_000

        await eventually(idle)

    template = await rig.driver.make_template(rig.specification(kernel=kernel, disks={}), booted)
    vm = await cloned(rig, template, kernel=kernel)
    end = await vm.wait()
    assert end.reason is ExitReason.GUEST_PANIC
    assert end.detail.startswith("Kernel panic - not syncing")
    assert "Kernel panic" in await vm.console()
    template.close()


async def test_what_happens_to_a_clone_touches_neither_its_template_nor_its_siblings(
    rig: Rig, template: Template
) -> None:
    killed, reset, hanging, well = [await cloned(rig, template) for _ in range(4)]
    agent = await greet(well)
    rig.murder(killed)
    other = await greet(reset)
    await other.request("shutdown", {"timeout_ms": 1000})
    os.kill(hanging.pid, signal.SIGSTOP)
    await asyncio.gather(killed.wait(), reset.wait())
    assert await agent.request("ping") == {}
    await (await greet(await cloned(rig, template))).close()
    await hanging.kill()
    assert (await hanging.wait()).reason is ExitReason.SHUTDOWN
    for vm in (killed, reset, hanging):
        await rig.driver.discard(vm.id)
    assert await agent.request("ping") == {}
    await (await greet(await cloned(rig, template))).close()
    await agent.close()
    await other.close()


async def test_a_clone_is_on_the_wire_by_its_own_card_alone(rig: Rig) -> None:
    (_, first), (name, second), (other, third) = [new_tap() for _ in range(3)]
    template = await rig.template(nic=Nic(first, DEVICE_MAC))
    vm, sibling = [await cloned(rig, template, nic=Nic(tap, DEVICE_MAC)) for tap in (second, third)]
    agents = [await greet(each) for each in (vm, sibling)]
    for number, agent in enumerate(agents, start=2):
        mac = f"02:42:c0:00:02:{number:02x}"
        address = {"addresses": [f"192.0.2.{number}/24"], "gateway": "192.0.2.1"}
        card = {"device_mac": DEVICE_MAC, "mac": mac, "name": "eth0", "mtu": 1500, **address}
        await agent.request("configure", {"interfaces": [card]})
    for tap, number in ((name, 2), (other, 3)):
        answered = await asyncio.to_thread(who_has, tap, number)
        assert answered == bytes([0x02, 0x42, 0xC0, 0, 2, number])
    assert await asyncio.to_thread(who_has, name, 3, 0.3) is None
    for agent in agents:
        await agent.close()
    template.close()


def new_tap() -> tuple[str, int]:
    """A tap that is up, in the tests' own network: its name and descriptor."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    asked = struct.pack("16sH22x", b"hctest%d", 0x0002 | 0x1000 | 0x4000)  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
    name = fcntl.ioctl(tap, 0x400454CA, asked)[:16].rstrip(b"\0")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH22x", name, 0x1 | 0x40))  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
    return name.decode(), tap


def who_has(tap: str, number: int, patience: float = 10.0) -> bytes | None:
    """Who says to be 192.0.2.*number*, asked by ARP (RFC 826) as a probe, which is asked again each second."""
    mine = bytes([2, 0, 0, 0, 0, 1])
    question = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mine + bytes(4) + bytes(6) + bytes([192, 0, 2, number])
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as wire:
        wire.bind((tap, 0x0806))
        wire.settimeout(min(patience, 1.0))
        for _ in range(max(1, int(patience))):
            wire.send(b"\xff" * 6 + mine + b"\x08\x06" + question)
            try:
                while True:
                    frame = wire.recv(2048)
                    if frame[20:22] == b"\0\2" and frame[28:32] == bytes([192, 0, 2, number]):
                        return frame[22:28]
            except TimeoutError:
                continue
    return None


async def test_a_clone_whose_card_is_none_ends_and_says_why(rig: Rig) -> None:
    template = await rig.template(nic=Nic(new_tap()[1], DEVICE_MAC))
    spec = rig.specification(template=template, nic=Nic(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC), DEVICE_MAC))
    try:
        vm = await rig.driver.launch(spec)
    except VmFailed as error:
        assert error.reason == "hypervisor-failed"
    else:
        end = await vm.wait()
        assert end.reason is ExitReason.FAILED
        assert "tap" in end.detail or "TUN" in end.detail
    whole = await cloned(rig, template, nic=Nic(new_tap()[1], DEVICE_MAC))
    await (await greet(whole)).close()
    template.close()


async def test_many_clones_at_once_are_as_many_strangers(rig: Rig, template: Template) -> None:
    vms = await asyncio.gather(*(cloned(rig, template) for _ in range(10)))
    agents = await asyncio.gather(*map(greet, vms))
    assert len({await boot_id(agent) for agent in agents}) == 10
    assert len({vm.pid for vm in vms}) == len({vm.record.uid for vm in vms}) == 10
    for agent in agents:
        await agent.close()
