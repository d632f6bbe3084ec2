# SPDX-License-Identifier: Apache-2.0
"""The VM's network card, configured by the agent: names, addresses, routes, counters."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypercell.base.errors import InvalidArgument, NotFound
from hypercell.vm import open_driver
from hypercell.vm.driver import DEVICE_MAC, Disk, Nic, Slot
from tests.guest.guest import Guest
from tests.guest.specifications import config
from tests.support.house import eventually
from tests.support.vm import guest_kernel, settings, specification

pytestmark = [pytest.mark.vm, pytest.mark.root]

MAC = DEVICE_MAC
TAP = "hcguest0"
TUNSETIFF = 0x400454CA
TAP_NO_PI_VNET_HDR = 0x0002 | 0x1000 | 0x4000


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@pytest.fixture
async def wired(tmp_path: Path, image: Path, empty_disk: Path) -> AsyncIterator[Guest]:
    """A VM with a card whose other end is 10.7.0.1/24 and fd07::1/64 here, in the tests' own network namespace."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", TAP.encode(), TAP_NO_PI_VNET_HDR))
    _ip("address", "add", "10.7.0.1/24", "dev", TAP)
    _ip("address", "add", "fd07::1/64", "dev", TAP, "nodad")
    _ip("link", "set", TAP, "up")
    settings_ = settings(tmp_path, kernel=os.environ.get("HYPERCELL_KERNEL", "auto"))
    settings_.root.mkdir(parents=True)
    kernel = guest_kernel(settings_)
    driver = open_driver(settings_)
    disks = {Slot.ROOT: Disk(image, read_only=True), Slot.WRITABLE: Disk(empty_disk, read_only=False)}
    memory = 96 + kernel.overhead_mib
    try:
        spec = specification(settings_.root, kernel, disks=disks, memory_mib=memory, nic=Nic(tap, MAC))
        guest = Guest(await driver.launch(spec))
        await guest.connect()
        yield guest
        await guest.agent.close()
    finally:
        for vm_id in await driver.known():
            await driver.discard(vm_id)
        await driver.close()


async def reached(address: str) -> bool:
    ping = await asyncio.create_subprocess_exec("ping", "-c1", "-W5", address, stdout=asyncio.subprocess.DEVNULL)
    return await ping.wait() == 0


async def ping(guest: Guest, address: str) -> bool:
    specification = config("busybox", "ping", "-c1", "-W5", address)
    namespaces = specification["linux"]["namespaces"]
    specification["linux"]["namespaces"] = [entry for entry in namespaces if entry["type"] != "network"]
    await guest.create("ping", specification)
    await guest.ask("container.start", container="ping")
    code = (await guest.exit("ping"))["code"]
    await guest.ask("container.delete", container="ping")
    return bool(code == 0)


async def test_a_card_is_configured_used_and_configured_anew(wired: Guest) -> None:
    first = {"mac": MAC, "name": "net0", "addresses": ["10.7.0.2/24", "fd07::2/64"], "gateway": "10.7.0.1", "mtu": 1400}
    await wired.ask("configure", interfaces=[first])
    await wired.ask("configure", interfaces=[first])
    assert await reached("10.7.0.2")
    assert await reached("fd07::2")
    assert await ping(wired, "10.7.0.1")

    specification_ = config("sleep", "1000")
    specification_["linux"]["namespaces"] = [{"type": "mount"}, {"type": "pid"}]
    specification_["hostname"] = ""
    await wired.create("c", specification_)
    await wired.ask("container.start", container="c")
    seen = (await wired.execute("c", "cat", "/sys/class/net/net0/mtu", "/proc/net/route")).stdout
    assert seen.startswith(b"1400\n")
    assert b"net0\t00000000\t0100070A" in seen
    cards = {card["name"]: card for card in (await wired.ask("container.stats", container="c"))["interfaces"]}
    assert "lo" not in cards
    card = cards["net0"]
    assert min(card["rx_bytes"], card["tx_bytes"], card["rx_packets"], card["tx_packets"]) > 0
    assert (card["rx_errors"], card["tx_errors"]) == (0, 0)

    second = {"mac": MAC.upper(), "name": "lan", "addresses": ["10.7.0.3/24"]}
    await wired.ask("network.update", interfaces=[second])
    assert await reached("10.7.0.3")
    assert not (await wired.execute("c", "grep", "-c", "0100070A", "/proc/net/route")).stdout.startswith(b"1")
    names = (await wired.execute("c", "ls", "/sys/class/net")).stdout.split()
    assert b"lan" in names
    assert b"net0" not in names


async def test_a_card_is_found_by_the_address_it_was_born_with(wired: Guest) -> None:
    for number, mac in enumerate(("02:00:00:00:00:31", "02:00:00:00:00:32", MAC), 2):
        address = f"10.7.0.{number}"
        card = {"device_mac": MAC, "mac": mac, "name": "net0", "addresses": [f"{address}/24"], "gateway": "10.7.0.1"}
        await wired.ask("configure", interfaces=[card])
        assert await reached(address)
        neighbours = subprocess.run(["ip", "neighbour", "show", address], check=True, capture_output=True, text=True)
        assert f" lladdr {mac} " in neighbours.stdout
        assert await ping(wired, "10.7.0.1")


async def test_a_card_that_stands_ready_is_not_used_until_it_is_wanted(wired: Guest) -> None:
    card = {"device_mac": MAC, "mac": MAC, "name": "net0"}
    used = {**card, "addresses": ["10.7.0.2/24"], "gateway": "10.7.0.1"}
    await wired.ask("configure", interfaces=[used])
    assert await reached("10.7.0.2")
    await wired.ask("network.update", interfaces=[{**card, "down": True}])
    looking = config("sleep", "1000")
    looking["linux"]["namespaces"] = [{"type": "mount"}, {"type": "pid"}]
    looking["hostname"] = ""
    await wired.create("c", looking)
    await wired.ask("container.start", container="c")
    seen = (await wired.execute("c", "cat", "/sys/class/net/net0/operstate", "/proc/net/route")).stdout
    assert seen.startswith(b"down\n")
    assert b"net0" not in seen
    await wired.ask("configure", interfaces=[{**used, "mac": "02:00:00:00:00:33"}])
    assert await ping(wired, "10.7.0.1")


async def test_what_does_not_fit_is_refused_and_changes_nothing(wired: Guest) -> None:
    good = {"mac": MAC, "name": "net0", "addresses": ["10.7.0.2/24"]}
    await wired.ask("configure", interfaces=[good])
    for wrong in (
        {"mac": "nonsense"},
        {"mac": MAC, "addresses": ["10.7.0.2/33"]},
        {"mac": MAC, "addresses": ["10.7.0"]},
        {"mac": MAC, "name": "a/b"},
        {"mac": MAC, "mtu": 10},
        {"mac": MAC, "gateway": "nobody"},
    ):
        with pytest.raises(InvalidArgument):
            await wired.ask("network.update", interfaces=[{**good, "addresses": ["10.7.0.9/24"]}, wrong])
    with pytest.raises(NotFound):
        await wired.ask("network.update", interfaces=[{**good, "mac": "02:00:00:00:00:99"}])
    assert await reached("10.7.0.2")


async def test_a_card_speaks_ipv6_only_when_it_has_such_an_address(wired: Guest) -> None:
    looking = config("sleep", "1000")
    looking["linux"]["namespaces"] = [{"type": "mount"}, {"type": "pid"}]
    looking["hostname"] = ""
    old = {"mac": MAC, "name": "net0", "addresses": ["10.7.0.2/24"]}
    both = {**old, "addresses": [*old["addresses"], "fd07::2/64"]}
    await wired.ask("configure", interfaces=[old])
    await wired.create("c", looking)
    await wired.ask("container.start", container="c")
    assert b"net0" not in (await wired.execute("c", "cat", "/proc/net/if_inet6")).stdout
    await wired.ask("network.update", interfaces=[both])
    assert await reached("fd07::2")

    async def complete() -> bool:
        return (await wired.execute("c", "cat", "/proc/net/if_inet6")).stdout.count(b"net0") == 2

    await eventually(complete)  # its own address, and after a moment the link's
    await wired.ask("network.update", interfaces=[old])
    assert b"net0" not in (await wired.execute("c", "cat", "/proc/net/if_inet6")).stdout
    assert await reached("10.7.0.2")
