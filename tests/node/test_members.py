# SPDX-License-Identifier: Apache-2.0
"""Members of a pod live in the VM of another container, end by themselves without it, and end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from hypercell.agent.fake import Faults
from hypercell.base.errors import Conflict, HypercellError, NotFound, NotModified
from hypercell.cloud.contract import MountRequest, RestartPolicy, Status, VolumeRequest
from hypercell.node.container import Container
from hypercell.node.volumes import serial
from tests.support.house import House, T, eventually

SLEEP = ("sleep", "infinity")
ALWAYS = RestartPolicy("always")


def joined(other: str, *kinds: str) -> dict[str, Any]:
    return {"joins": dict.fromkeys(kinds or ("network",), other)}


def own_disks(ident: str) -> set[str]:
    return {f"r-{ident[:12]}", f"w-{ident[:12]}"}


def plugged(home: House, vm: str) -> set[str]:
    return set(home.machine.vms[vm].plugged)


def in_guest(home: House, vm: str) -> set[str]:
    return set(home.machine.guest(vm).containers)


async def host_and_member(home: House, *command: str, **request: Any) -> tuple[str, str]:
    host = await home.run(*SLEEP, name="host")
    return host, await home.run(*(command or SLEEP), name="it", **joined("host"), **request)


async def until_asked(home: House, vm: str, ident: str) -> None:
    """Until the guest was asked to create it."""

    async def there() -> bool:
        return ident in in_guest(home, vm)

    await eventually(there)


async def gone(home: House, ident: str) -> None:
    """Until its VM has let go of it."""

    async def left() -> bool:
        end = home.node.get(ident).vm_end
        return end is not None and end.done()

    await eventually(left)


async def refused(start: Awaitable[None]) -> HypercellError:
    with pytest.raises(HypercellError) as error:
        await start
    return error.value


# Its life


async def test_it_is_in_the_vm_of_the_other_with_disks_of_its_own(home: House) -> None:
    host, it = await host_and_member(home)
    assert home.machine.running() == [host]
    assert plugged(home, host) == own_disks(it)
    layer = home.machine.vms[host].plugged[f"w-{it[:12]}"]
    assert layer == (str(home.node.services.storage.writable(it)), False)
    assert home.machine.vms[host].plugged[f"r-{it[:12]}"][1], "others may have the image too"
    assert in_guest(home, host) == {host, it}
    view = await home.view(it)
    assert view.vm["id"] == host and view.port.places == () and view.trace.way == "pod"
    assert view.state.status is Status.RUNNING and view.state.pid > 0


async def test_its_end_is_told_and_leaves_the_other_alone(home: House) -> None:
    host, it = await host_and_member(home, "sh", "-c", "echo said; exit 7")
    assert await home.wait(it) == 7
    await gone(home, it)
    assert await home.output(it) == b"said\n"
    assert plugged(home, host) == set() and in_guest(home, host) == {host}
    assert await home.status(host) is Status.RUNNING
    assert (await home.view(it)).state.error == ""


async def test_it_can_be_started_again_and_again(home: House) -> None:
    host, it = await host_and_member(home, "true")
    for _ in range(3):
        assert await home.wait(it) == 0
        await home.containers.start(T, it)
    assert await home.wait(it) == 0
    await home.containers.restart(T, it)
    assert await home.wait(it) == 0
    await gone(home, it)
    assert plugged(home, host) == set()


READS = {"mounts": (MountRequest("/data", "data", read_only=True),)}


async def test_a_volume_that_could_not_be_put_in_order_is_taken_out_again(home: House) -> None:
    host = await home.run(*SLEEP, name="host")
    it = await home.create("true", **joined("host"), **READS)
    home.machine.guest(host).faults = Faults(errors={"container.create": ("invalid", "no file system")})
    assert "no file system" in str(await refused(home.containers.start(T, it)))
    assert plugged(home, host) == set()
    home.machine.guest(host).faults = Faults()
    await home.run("true", mounts=(MountRequest("/data", "data"),))


async def test_a_daemon_that_ends_while_a_volume_is_put_in_order_keeps_nobody_from_it(home: House) -> None:
    host = await home.run(*SLEEP, name="host")
    it = await home.create("true", **joined("host"), **READS)
    home.machine.guest(host).faults = Faults(silent={"container.create"})
    start = asyncio.ensure_future(home.containers.start(T, it))
    await until_asked(home, host, "in-order")
    await home.close()
    await asyncio.gather(start, return_exceptions=True)
    home.machine.guest(host).faults = Faults()
    await home.open()
    await home.containers.start(T, it)
    assert await home.wait(it) == 0
    await gone(home, it)
    assert (plugged(home, host), in_guest(home, host)) == (set(), {host})


async def test_its_own_policy_starts_it_again_while_the_other_runs(home: House) -> None:
    host, it = await host_and_member(home, "sh", "-c", "exit 3", restart=RestartPolicy("on-failure", 2))
    await home.restarts(it, 2)
    await home.until(it, Status.EXITED)
    await gone(home, it)
    assert plugged(home, host) == set()


async def test_stop_kill_and_forced_removal_end_it_alone(home: House) -> None:
    host, it = await host_and_member(home)
    await home.containers.stop(T, it, 0)
    await home.containers.start(T, it)
    await home.containers.kill(T, it)
    assert (await home.view(it)).state.exit_code == 137
    await home.containers.start(T, it)
    await home.containers.remove(T, it, force=True)
    await home.settled()
    assert await home.status(host) is Status.RUNNING
    assert plugged(home, host) == set() and in_guest(home, host) == {host}
    assert [path.name for path in home.config.containers.iterdir()] == [host]
    assert home.ports() == {host}


async def test_a_member_can_be_joined_too(home: House) -> None:
    host, it = await host_and_member(home)
    third = await home.run(*SLEEP, **joined("it", "network", "pid"))
    assert home.machine.running() == [host] and in_guest(home, host) == {host, it, third}
    await home.containers.stop(T, it, 0)
    assert await home.status(third) is Status.RUNNING
    await home.containers.stop(T, third, 0)
    error = await refused(home.containers.start(T, third))
    assert isinstance(error, Conflict) and error.message == f"cannot join network of a non running container: {it}"


async def test_execs_pauses_and_figures_are_its_own(home: House) -> None:
    host, it = await host_and_member(home)
    await home.containers.pause(T, it)
    assert await home.status(it) is Status.PAUSED and await home.status(host) is Status.RUNNING
    await home.containers.unpause(T, it)
    assert (await home.containers.stats(T, it))["pids"] and await home.containers.top(T, it)


# Without the other


@pytest.mark.parametrize("state", ["created", "stopped"])
async def test_it_cannot_start_while_the_other_does_not_run(home: House, state: str) -> None:
    host = await home.create(*SLEEP, name="host")
    it = await home.create("true", **joined("host"))
    if state == "stopped":
        await home.containers.start(T, host)
        await home.containers.stop(T, host, 0)
    error = await refused(home.containers.start(T, it))
    assert isinstance(error, Conflict)
    assert error.message == f"cannot join network of a non running container: {host}"
    view = await home.view(it)
    assert view.state.status is Status.CREATED and view.state.exit_code == 128
    await home.containers.start(T, host)
    await home.containers.start(T, it)
    assert await home.wait(it) == 0


async def test_processes_of_one_that_does_not_run_cannot_be_joined(home: House) -> None:
    host = await home.create(*SLEEP, name="host")
    it = await home.create("true", **joined("host", "pid"))
    assert (await refused(home.containers.start(T, it))).message == f"container {host} is not running"


async def test_one_whose_other_was_removed_says_what_is_missing_and_can_be_removed(home: House) -> None:
    host = await home.create(*SLEEP, name="host")
    it = await home.create("true", **joined("host"))
    await home.containers.remove(T, host)
    error = await refused(home.containers.start(T, it))
    assert isinstance(error, NotFound) and error.message == f"No such container: {host}"
    await home.reopen()
    assert isinstance(await refused(home.containers.start(T, it)), NotFound)
    await home.containers.remove(T, it)
    assert await home.leftovers() == []
    assert await home.db.run(lambda tx: tx.execute("SELECT id FROM pods").fetchall()) == []


async def test_it_cannot_be_made_of_one_that_is_being_removed(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    host = await home.create(*SLEEP, name="host")
    create = home.node.services.storage.create

    async def late(ident: str, size: int) -> None:
        await create(ident, size)
        await home.containers.remove(T, host)

    monkeypatch.setattr(home.node.services.storage, "create", late)
    with pytest.raises(NotFound):
        await home.create("true", **joined("host"))
    assert await home.leftovers() == []


# The end of the other


async def end(home: House, host: str, how: str) -> None:
    if how == "crash":
        home.machine.crash(host)
        await home.wait(host)
    elif how == "remove":
        await home.containers.remove(T, host, force=True)
    elif how == "kill":
        await home.containers.kill(T, host)
    else:
        await home.containers.stop(T, host, 0)


@pytest.mark.parametrize("how", ["stop", "kill", "remove", "crash"])
async def test_it_ends_with_the_other(home: House, how: str) -> None:
    host, it = await host_and_member(home)
    await end(home, host, how)
    assert await home.wait(it) == 137
    view = await home.view(it)
    assert view.state.status is Status.EXITED
    assert view.state.error == f"the container whose VM it is in has ended: host ({host[:12]})"
    assert home.attributes(it, "die")["reason"] == "pod-ended"
    await home.settled()
    assert home.machine.vms == {}
    error = await refused(home.containers.start(T, it))
    assert isinstance(error, NotFound if how == "remove" else Conflict)


async def test_what_it_wrote_last_arrives_when_the_other_is_stopped(home: House) -> None:
    host, it = await host_and_member(home, "sh", "-c", "echo one; sleep infinity")
    await home.writes(it, b"one\n")
    await home.containers.stop(T, host, 0)
    assert await home.wait(it) == 137
    assert await home.output(it) == b"one\n"


async def test_the_vm_ends_in_order_for_members_when_the_other_is_removed(home: House) -> None:
    host, it = await host_and_member(home)
    guest = home.machine.guest(host)
    orderly = asyncio.Event()
    tell = guest._on_shutdown

    def shut_down() -> None:
        orderly.set()
        tell()

    guest._on_shutdown = shut_down
    await home.containers.remove(T, host, force=True)
    await home.wait(it)
    await home.settled()
    assert orderly.is_set()


async def test_its_policy_waits_until_the_other_runs_again(home: House) -> None:
    host, it = await host_and_member(home, restart=ALWAYS)
    await home.containers.stop(T, host, 0)
    await home.until(it, Status.RESTARTING)
    await home.settled()
    assert home.machine.vms == {}
    await home.containers.start(T, host)
    await home.until(it, Status.RUNNING)
    assert (await home.view(it)).state.restart_count == 1
    assert in_guest(home, host) == {host, it}


async def test_its_policy_gives_up_when_the_other_is_removed(home: House) -> None:
    host, it = await host_and_member(home, restart=ALWAYS)
    await home.containers.stop(T, host, 0)
    await home.until(it, Status.RESTARTING)
    await home.containers.remove(T, host)
    await home.until(it, Status.EXITED)
    await home.containers.remove(T, it)
    assert await home.leftovers() == []


async def test_a_restart_of_the_other_ends_it(home: House) -> None:
    host, it = await host_and_member(home)
    await home.containers.restart(T, host, 0)
    assert await home.wait(it) == 137
    assert in_guest(home, host) == {host}
    await home.containers.start(T, it)
    assert in_guest(home, host) == {host, it}


async def test_one_among_the_processes_of_the_other_ends_for_that_ones_end(home: House) -> None:
    """The kernel kills it with the other's first process; the guest tells of it first."""
    host = await home.run(*SLEEP, name="host")
    it = await home.run(*SLEEP, **joined("host", "network", "pid"))
    for ident in (it, host):
        home.machine.guest(host).containers[ident].init.deliver(9)
    assert await home.wait(it) == 137
    assert (await home.view(it)).state.error.startswith("the container whose VM it is in has ended: host")
    host = await home.run(*SLEEP, name="another")
    alone = await home.run(*SLEEP, **joined("another", "pid"))
    await home.containers.kill(T, alone)
    assert (await home.view(alone)).state.error == ""


# Two at once


async def test_of_two_starts_one_is_carried_out(home: House) -> None:
    host = await home.run(*SLEEP, name="host")
    it = await home.create(*SLEEP, **joined("host"))
    both = await asyncio.gather(*(home.containers.start(T, it) for _ in range(2)), return_exceptions=True)
    assert [type(one) for one in both if one is not None] == [NotModified]
    assert plugged(home, host) == own_disks(it)


async def test_many_members_come_and_go_at_once(home: House) -> None:
    host = await home.run(*SLEEP, name="host")
    idents = [await home.create("true", **joined("host")) for _ in range(8)]
    await asyncio.gather(*(home.containers.start(T, ident) for ident in idents))
    assert await asyncio.gather(*map(home.wait, idents)) == [0] * 8
    await home.settled()
    assert plugged(home, host) == set() and in_guest(home, host) == {host}


@pytest.mark.parametrize("how", ["stop", "remove", "crash"])
async def test_the_other_ends_while_it_starts(home: House, how: str) -> None:
    host = await home.run(*SLEEP, name="host")
    it = await home.create(*SLEEP, **joined("host"))
    home.machine.guest(host).faults = Faults(delays={"container.create": 0.3})
    starting = asyncio.ensure_future(home.containers.start(T, it))

    async def plugging() -> bool:
        return plugged(home, host) == own_disks(it)

    await eventually(plugging)
    await end(home, host, how)
    assert isinstance(await refused(starting), Conflict)
    assert await home.status(it) is Status.CREATED
    await home.settled()
    assert home.machine.vms == {}
    if how != "remove":
        await home.containers.start(T, host)
        await home.containers.start(T, it)
        assert await home.status(it) is Status.RUNNING


async def test_the_other_ends_while_its_program_starts(home: House) -> None:
    host = await home.run(*SLEEP, name="host")
    it = await home.create(*SLEEP, **joined("host"))
    home.machine.guest(host).faults = Faults(silent={"container.start"})
    starting = asyncio.ensure_future(home.containers.start(T, it))
    await until_asked(home, host, it)
    await home.containers.stop(T, host, 0)
    assert isinstance(await refused(starting), Conflict)
    await home.settled()
    assert home.machine.vms == {}


async def test_a_start_that_is_stopped_leaves_nothing_in_the_vm(home: House) -> None:
    host = await home.run(*SLEEP, name="host")
    it = await home.create(*SLEEP, **joined("host"))
    home.machine.guest(host).faults = Faults(delays={"container.create": 0.3})
    starting = asyncio.ensure_future(home.containers.start(T, it))

    async def plugging() -> bool:
        return plugged(home, host) == own_disks(it)

    await eventually(plugging)
    await home.containers.stop(T, it, 0)
    assert "was stopped while it started" in (await refused(starting)).message
    assert plugged(home, host) == set() and in_guest(home, host) == {host}
    assert await home.status(host) is Status.RUNNING


async def test_a_start_that_fails_leaves_nothing_in_the_vm(home: House) -> None:
    host = await home.run(*SLEEP, name="host")
    it = await home.create("no-such-program", **joined("host"))
    assert await refused(home.containers.start(T, it))
    assert (await home.view(it)).state.exit_code == 127
    assert plugged(home, host) == set() and in_guest(home, host) == {host}


# A guest that does not do its part


async def test_a_guest_that_does_not_kill_it_is_ended(home: House) -> None:
    host, it = await host_and_member(home)
    home.machine.guest(host).faults = Faults(errors={"process.signal": ("internal", "no")})
    await home.containers.remove(T, it, force=True)
    assert await home.wait(host) == 255
    error = (await home.view(host)).state.error
    assert error.startswith("the VM runs but does not answer") and error.endswith("did not kill the container it")
    await home.settled()
    assert home.machine.vms == {}


@pytest.mark.parametrize(
    "faults", [Faults(silent={"container.delete"}), Faults(errors={"container.delete": ("internal", "no")})]
)
async def test_a_guest_that_does_not_let_go_of_it_is_ended(home: House, faults: Faults) -> None:
    host, it = await host_and_member(home)
    home.machine.guest(host).faults = faults
    await home.containers.stop(T, it, 0)
    assert await home.wait(host) == 255
    assert (await home.view(host)).state.error.endswith("its guest did not let go of the container it")
    await home.settled()
    assert home.machine.vms == {}


async def test_a_connection_that_is_lost_meanwhile_costs_nobody_the_vm(home: House) -> None:
    host, it = await host_and_member(home)
    home.machine.guest(host).faults = Faults(drop_on={"container.delete"})
    await home.containers.stop(T, it, 0)
    await gone(home, it)
    assert plugged(home, host) == set() and in_guest(home, host) == {host}
    assert await home.status(host) is Status.RUNNING


# A daemon that comes back


async def test_it_is_found_again_with_the_other(home: House) -> None:
    host, it = await host_and_member(home, "sh", "-c", "echo one; sleep 0.3; echo two; exit 5")
    await home.reopen()
    assert await home.status(host) is Status.RUNNING
    assert await home.wait(it) == 5
    assert await home.output(it) == b"one\ntwo\n"
    await gone(home, it)
    assert plugged(home, host) == set() and in_guest(home, host) == {host}


async def test_it_has_ended_when_the_vm_did_while_the_daemon_was_away(home: House) -> None:
    host, it = await host_and_member(home, restart=ALWAYS)
    await home.close()
    home.machine.crash(host)
    await home.open()
    assert (await home.view(host)).state.exit_code == 255
    await home.until(it, Status.RESTARTING)
    assert (await home.view(it)).state.exit_code == 137
    await home.containers.start(T, host)
    await home.until(it, Status.RUNNING)


async def test_one_that_ended_while_the_daemon_was_away_is_taken_out(home: House) -> None:
    host, it = await host_and_member(home)
    await home.close()
    container = home.machine.guest(host).containers[it]
    container.init.deliver(9)
    await home.open()
    assert await home.wait(it) == 137
    await gone(home, it)
    assert plugged(home, host) == set() and await home.status(host) is Status.RUNNING


# Files and volumes


async def test_files_of_one_that_does_not_run_are_in_a_vm_of_their_own(home: House) -> None:
    host, it = await host_and_member(home, "true")
    await home.wait(it)
    changes = await home.containers.changes(T, it)
    assert set(home.machine.running()) == {host, it}
    async for _ in changes:
        pass
    await home.settled()
    assert home.machine.running() == [host] and home.ports() == {host}
    await home.containers.start(T, it)
    assert await home.wait(it) == 0


DATA = (MountRequest("/data", "data"),)
ONLY_READ = (MountRequest("/data", "data", read_only=True),)


def volume_in(home: House, vm: str) -> bool | None:
    """Whether it is read-only there; None: it is not there."""
    (volume,) = home.node.services.volumes.of(T)
    found = home.machine.vms[vm].plugged.get(serial(volume.id))
    return found[1] if found else None


def volume_is_clean(home: House) -> bool:
    (volume,) = home.node.services.volumes.of(T)
    return volume.clean


async def test_a_volume_comes_and_goes_with_it(home: House) -> None:
    host, it = await host_and_member(home, mounts=DATA)
    assert volume_in(home, host) is False and not volume_is_clean(home)
    await home.containers.stop(T, it, 0)
    await gone(home, it)
    assert volume_in(home, host) is None and volume_is_clean(home)
    assert await home.wait(await home.run("true", mounts=DATA)) == 0


async def test_a_volume_is_shared_within_the_vm(home: House) -> None:
    host = await home.run(*SLEEP, name="host", mounts=DATA)
    one = await home.run(*SLEEP, **joined("host"), mounts=DATA)
    two = await home.run(*SLEEP, **joined("host"), mounts=ONLY_READ)
    for ident in (one, two):
        await home.containers.stop(T, ident, 0)
        await gone(home, ident)
        assert volume_in(home, host) is False, "the others have it still"
    with pytest.raises(Conflict):
        await home.run("true", mounts=DATA)


async def test_a_volume_that_is_read_only_in_the_vm_cannot_be_written_there(home: House) -> None:
    assert home.cloud is not None
    await home.cloud.volumes.create(T, VolumeRequest("data"))
    await home.run(*SLEEP, name="host", mounts=ONLY_READ)
    it = await home.create("true", **joined("host"), mounts=DATA)
    assert "read-only in the VM that the container joins" in str(await refused(home.containers.start(T, it)))


async def test_a_volume_that_another_vm_writes_to_is_refused(home: House) -> None:
    await home.run(*SLEEP, name="other", mounts=DATA)
    host = await home.run(*SLEEP, name="host")
    it = await home.create("true", **joined("host"), mounts=DATA)
    assert 'is used by the container "other"' in str(await refused(home.containers.start(T, it)))
    assert plugged(home, host) == set()


# What it may use


async def test_limits_beyond_the_vm_are_told(home: House) -> None:
    await home.run(*SLEEP, name="host")
    container: Container = home.node.get(await home.create("true", **joined("host")))
    memory = container.pod.record.spec.memory
    assert container.record.spec.oci["linux"]["resources"]["memory"]["limit"] == memory
    warned = await home.containers.update(T, container.id, memory=2 * memory, nano_cpus=8 * 10**9)
    assert len(warned) == 2 and "it cannot use" in warned[0]
    assert container.pod.record.spec.memory == memory
