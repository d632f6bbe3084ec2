# SPDX-License-Identifier: Apache-2.0
"""Containers in clones: what is checked before a tenant's byte runs, and what happens to a clone that fails."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hypercell.agent.fake import Faults
from hypercell.base.errors import HypercellError
from hypercell.cloud.contract import ExecRequest, MountRequest, Status
from hypercell.node.volumes import serial
from tests.support.house import House, T, eventually, house


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """Two VMs wait."""
    async with house(tmp_path, clones=True) as built:
        await waiting(built, 2)
        yield built


async def waiting(home: House, count: int) -> None:
    async def enough() -> bool:
        return sum(home.node.services.factory.figures().pooled.values()) == count

    await eventually(enough)


def way(home: House, ident: str) -> str:
    trace = home.node.get(ident).trace
    assert trace is not None
    return str(trace.way)


def note(home: House, ident: str) -> str:
    trace = home.node.get(ident).trace
    assert trace is not None
    return trace.note


def lie(home: House, **reply: Any) -> None:
    """Every VM that waits now, and every one that takes its place, answers so to its next `configure`."""
    home.machine.clone_faults = Faults(replies={"configure": reply})
    for vm_id in home.machine.running():
        home.machine.guest(vm_id).faults = home.machine.clone_faults


async def test_a_container_runs_in_a_vm_that_waited(home: House) -> None:
    ident = await home.run("echo", "hello")
    assert await home.wait(ident) == 0
    assert await home.output(ident) == b"hello\n"
    assert (way(home, ident), note(home, ident)) == ("pool", "")
    await home.containers.remove(T, ident, force=True)
    await home.settled()
    assert ident not in await home.vms()


async def test_a_waiting_vm_becomes_the_containers_in_every_respect(home: House) -> None:
    ident = await home.run("sleep", "infinity", hostname="mine")
    guest, pod = home.machine.guest(ident), home.node.get(ident).pod
    (interface,) = guest.configuration["interfaces"]
    assert guest.hostname == "mine"
    (place,) = pod.port.places
    assert (interface["mac"], interface["addresses"]) == (place.mac, [place.address])
    assert interface["device_mac"] != place.mac
    assert guest.configuration["machine_id"] == ident[:32]
    assert abs(guest.configuration["clock_ns"] - time.time_ns()) < 60 * 10**9
    assert list(home.network.spares.values()).count(ident) == 1
    assert home.machine.disks[ident]["rw"].endswith(f"{ident}/rw.img")
    assert list(guest.containers) == [ident]


async def test_a_vm_that_waited_serves_execs_events_and_reconnects(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    exec_id = await home.containers.exec_create(T, ident, ExecRequest(args=("true",)))
    await home.containers.exec_start(T, exec_id, True)

    async def done() -> bool:
        return (await home.containers.exec_inspect(T, exec_id)).exit_code == 0

    await eventually(done)
    home.machine.guest(ident).drop()
    await home.containers.kill(T, ident, "KILL")
    assert await home.wait(ident) == 137


async def test_entropy_is_new_for_every_vm(home: House) -> None:
    for _ in range(2):
        await home.run("sleep", "infinity")
    await waiting(home, 2)
    given = [home.machine.guest(vm_id).configuration["entropy"] for vm_id in home.machine.running()]
    assert len(given) == 4 == len(set(given))


LIES: dict[str, dict[str, Any]] = {
    "no boot id": {"boot_id": ""},
    "an old clock": {"clock_ns": 10**18},
    "a clock ahead": {"clock_ns": 4 * 10**18},
    "another host name": {"hostname": "another"},
    "no randomness": {"random": "00" * 16},
}


@pytest.mark.parametrize("reply", LIES.values(), ids=LIES)
async def test_a_clone_that_does_not_confirm_is_thrown_away_before_anything_runs(
    home: House, reply: dict[str, Any]
) -> None:
    strangers = home.machine.running()
    lie(home, **reply)
    ident = await home.run("sh", "-c", "echo once; sleep infinity")
    await home.writes(ident, b"once\n")
    assert way(home, ident) == "cold"
    assert "is not what it should be" in note(home, ident)
    assert home.node.services.factory.figures().fallbacks == 1
    await eventually(lambda: _gone(home, strangers))


async def test_the_vm_that_takes_the_place_of_one_that_did_not_confirm_gets_the_volumes(home: House) -> None:
    lie(home, hostname="somebody-else")
    ident = await home.run("sleep", "infinity", mounts=(MountRequest("/data", "data"),))
    assert way(home, ident) == "cold"
    (volume,) = home.node.services.volumes.of(T)
    assert set(home.machine.vms[ident].plugged) == {serial(volume.id)}


async def test_a_vm_that_booted_of_a_zygote_and_does_not_confirm_is_thrown_away_with_it(tmp_path: Path) -> None:
    async with house(tmp_path, clones=True, isolation="cold") as home:
        factory = home.node.services.factory
        await home.run("sleep", "infinity")

        async def made() -> bool:
            return factory.figures().templates == 1

        await eventually(made)
        lie(home, hostname="somebody-else")
        ident = await home.run("sh", "-c", "echo once; sleep infinity")
        await home.writes(ident, b"once\n")
        assert way(home, ident) == "cold"
        assert (factory.figures().templates, factory.figures().fallbacks) == (0, 1)
        assert [vm.template for vm in home.machine.vms.values()] == ["", ""]


async def _gone(home: House, vms: list[str]) -> bool:
    return not set(vms) & set(home.machine.running())


async def test_a_boot_id_that_came_before_is_no_strangers(home: House) -> None:
    lie(home, boot_id="11111111-2222-4333-8444-555555555555")
    first = await home.run("sleep", "infinity")
    assert way(home, first) == "pool"
    second = await home.run("sleep", "infinity")
    assert way(home, second) == "cold"
    assert "its boot id is that of another VM" in note(home, second)


async def test_random_bytes_that_came_before_are_no_strangers(home: House) -> None:
    lie(home, random="0123456789abcdef" * 2)
    assert way(home, await home.run("true")) == "pool"
    second = await home.run("true")
    assert way(home, second) == "cold"
    assert "its random bytes came before" in note(home, second)


async def test_a_boot_id_of_a_vm_that_an_earlier_daemon_confirmed_counts_too(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    boot_id = home.machine.guest(ident).boot_id
    await home.reopen()
    await waiting(home, 2)
    lie(home, boot_id=boot_id)
    second = await home.run("sleep", "infinity")
    assert way(home, second) == "cold"
    assert await home.status(ident) is Status.RUNNING


async def test_a_guest_that_boots_and_does_not_confirm_fails_the_start(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.machine.faults = Faults(replies={"configure": {"boot_id": ""}})
        ident = await home.create("true")
        with pytest.raises(HypercellError, match="not what it should be: it has no boot id"):
            await home.containers.start(T, ident)
        assert await home.vms() == []


@pytest.mark.parametrize("faults", [Faults(die_on={"configure"}), Faults(silent={"configure"})], ids=["dead", "mute"])
async def test_a_clone_that_dies_or_hangs_at_its_claim_is_replaced(home: House, faults: Faults) -> None:
    for vm_id in home.machine.running():
        home.machine.guest(vm_id).faults = faults
    ident = await home.run("echo", "hello")
    assert await home.wait(ident) == 0
    assert await home.output(ident) == b"hello\n"
    assert way(home, ident) == "cold"


async def test_what_is_wrong_with_the_container_is_not_blamed_on_its_vm(home: House) -> None:
    for vm_id in home.machine.running():
        home.machine.guest(vm_id).faults = Faults(errors={"container.create": ("invalid", "no such user")})
    ident = await home.create("true")
    with pytest.raises(HypercellError, match="no such user"):
        await home.containers.start(T, ident)
    assert home.node.services.factory.figures().fallbacks == 0
    assert ident not in home.machine.vms


@pytest.mark.parametrize("op", ["configure", "container.create", "container.start"])
async def test_a_start_in_a_clone_that_is_stopped_leaves_nothing(home: House, op: str) -> None:
    for vm_id in home.machine.running():
        home.machine.guest(vm_id).faults = Faults(delays={op: 0.3})
    ident = await home.create("sleep", "infinity")
    starting = asyncio.ensure_future(home.containers.start(T, ident))
    await eventually(lambda: _exists(home, ident))
    await asyncio.sleep(0.05)
    await home.containers.kill(T, ident)
    with contextlib.suppress(HypercellError):
        await starting
    assert (await home.view(ident)).state.status is not Status.RUNNING
    assert ident not in home.machine.running()
    assert home.node.services.factory.figures().fallbacks == 0, "nobody but the user is to blame"


async def _exists(home: House, ident: str) -> bool:
    return ident in home.machine.vms


async def test_a_container_that_wants_no_shared_pages_gets_a_boot_of_its_own(home: House) -> None:
    ident = await home.run("sleep", "infinity", isolation="cold")
    assert way(home, ident) == "cold"
    assert note(home, ident).startswith("isolation is cold")
    assert home.machine.vms[ident].template == ""
    assert (await home.view(ident)).request.isolation == "cold"
    await home.reopen()
    await home.containers.restart(T, ident)
    assert way(home, ident) == "cold"


async def test_an_isolation_that_nobody_knows_is_refused(home: House) -> None:
    with pytest.raises(HypercellError, match="invalid isolation"):
        await home.create("true", isolation="hyperv")


async def test_an_orderly_end_ends_what_waits_and_nothing_else(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    await home.close()
    assert home.machine.running() == [ident]
    await home.open()
    assert await home.status(ident) is Status.RUNNING


async def test_starts_of_many_at_once_all_run(home: House) -> None:
    idents = [await home.create("sleep", "infinity") for _ in range(12)]
    await asyncio.gather(*(home.containers.start(T, ident) for ident in idents))
    ways = [way(home, ident) for ident in idents]
    assert set(ways) <= {"pool", "template"} and ways.count("pool") >= 2
    assert len({home.machine.guest(ident).boot_id for ident in idents}) == 12
