# SPDX-License-Identifier: Apache-2.0
"""The service behind the doors: names, tenants, events, updates, pruning."""

from __future__ import annotations

import asyncio
import time

import pytest

from hypercell.base.errors import Conflict, InvalidArgument, NotFound, Unsupported
from hypercell.base.ids import is_name
from hypercell.cloud.contract import ContainerRequest, Event, RestartPolicy, Status
from hypercell.cloud.events import KEPT, TENANTS, EventLog
from hypercell.cloud.names import Names
from hypercell.images.contract import Image
from tests.support.house import House, T
from tests.support.image_shelf import BUSYBOX_ID

OTHER = "another"


async def create_for(home: House, tenant: str, name: str = "") -> str:
    ident, _ = await home.containers.create(
        tenant, ContainerRequest("busybox", name=name, command=("sleep", "infinity"))
    )
    return str(ident)


class TestNames:
    async def test_an_id_a_prefix_and_a_name_mean_the_same(self, home: House) -> None:
        ident = await home.create("true", name="web")
        for ref in (ident, ident[:12], ident[:40], "web", "/web"):
            assert (await home.containers.inspect(T, ref)).id == ident

    async def test_one_that_is_not_there_is_named_in_dockers_words(self, home: House) -> None:
        with pytest.raises(NotFound, match=r"^No such container: nothere$"):
            await home.containers.inspect(T, "nothere")
        with pytest.raises(NotFound) as caught:
            await home.containers.inspect(T, "a\x1b[31m\n" * 100)
        assert caught.value.message.isprintable()

    def test_an_ambiguous_prefix_is_refused_and_a_name_beats_it(self) -> None:
        names = Names()
        names.add(T, "x1", "aa" + "0" * 62)
        names.add(T, "x2", "aa" + "1" * 62)
        with pytest.raises(InvalidArgument, match="Multiple IDs found"):
            names.find(T, "aa")
        names.add(T, "aa", "b" * 64)
        assert names.find(T, "aa") == "b" * 64
        with pytest.raises(NotFound):
            names.find(T, "")

    async def test_a_name_is_made_up(self, home: House) -> None:
        names = {(await home.view(await home.create("true"))).name for _ in range(10)}
        assert len(names) == 10 and all(is_name(name) and "_" in name for name in names)

    async def test_a_taken_name_is_a_conflict_that_names_its_owner(self, home: House) -> None:
        ident = await home.create("true", name="web")
        with pytest.raises(Conflict, match=f'The container name "/web" is already in use by container "{ident}"'):
            await home.create("true", name="web")
        await home.containers.remove(T, "web")
        await home.create("true", name="web")

    async def test_renaming_frees_the_old_name(self, home: House) -> None:
        ident = await home.create("true", name="old")
        await home.containers.rename(T, "old", "new")
        with pytest.raises(NotFound):
            await home.containers.inspect(T, "old")
        assert (await home.containers.inspect(T, "new")).id == ident
        await home.create("true", name="old")
        with pytest.raises(InvalidArgument):
            await home.containers.rename(T, ident, "no good")
        with pytest.raises(Conflict):
            await home.containers.rename(T, ident, "old")

    async def test_a_failed_creation_frees_its_name(self, home: House) -> None:
        with pytest.raises(InvalidArgument):
            await home.create("true", name="web", nano_cpus=10**12)
        await home.create("true", name="web")


class TestTenants:
    async def test_one_tenant_sees_nothing_of_another(self, home: House) -> None:
        mine, theirs = await create_for(home, T, "web"), await create_for(home, OTHER, "web")
        assert mine != theirs
        assert [view.id for view in await home.containers.list(T, all=True)] == [mine]
        for ref in (theirs, theirs[:12]):
            for verb in (
                home.containers.inspect(T, ref),
                home.containers.start(T, ref),
                home.containers.remove(T, ref, True),
                home.containers.kill(T, ref),
                home.containers.wait(T, ref),
                home.containers.rename(T, ref, "mine"),
                home.containers.attach(T, ref, True, True, True),
                home.containers.stats(T, ref),
            ):
                with pytest.raises(NotFound):
                    await verb
        await home.reopen()
        assert [view.id for view in await home.containers.list(OTHER, all=True)] == [theirs]

    async def test_execs_belong_to_the_containers_tenant(self, home: House) -> None:
        from hypercell.cloud.contract import ExecRequest

        ident = await create_for(home, OTHER)
        await home.containers.start(OTHER, ident)
        exec_id = await home.containers.exec_create(OTHER, ident, ExecRequest(("true",)))
        for verb in (
            home.containers.exec_inspect(T, exec_id),
            home.containers.exec_start(T, exec_id, True),
            home.containers.exec_resize(T, exec_id, 1, 1),
        ):
            with pytest.raises(NotFound):
                await verb

    async def test_pruning_is_of_ones_own(self, home: House) -> None:
        mine, theirs = await create_for(home, T), await create_for(home, OTHER)
        kept = await home.create("true", labels={"keep": "yes"})
        running = await home.run("sleep", "infinity")
        removed, _ = await home.containers.prune(T, lambda view: "keep" in view.request.labels)
        assert removed == [mine]
        left = {view.id for view in await home.containers.list(T, all=True)}
        assert left == {kept, running} and await home.containers.inspect(OTHER, theirs)


class TestImages:
    async def test_an_image_that_is_not_here_is_named(self, home: House) -> None:
        with pytest.raises(NotFound, match=r"^No such image: nope$"):
            await home.create("true", image="nope")

    async def test_an_image_is_in_use_as_long_as_a_container_is_made_of_it(self, home: House) -> None:
        assert home.images.in_use(BUSYBOX_ID) == []
        ident = await home.create("true")
        assert home.images.in_use(BUSYBOX_ID) == [ident]
        await home.reopen()
        assert home.images.in_use(BUSYBOX_ID) == [ident]
        await home.containers.remove(T, ident)
        assert home.images.in_use(BUSYBOX_ID) == []

    async def test_an_image_that_is_removed_just_before_it_is_wanted_makes_no_container(
        self, home: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        look = home.images.get

        async def get(tenant: str, reference: str) -> Image:
            found = await look(tenant, reference)
            if not home.images.in_use(found.id):
                del home.images.images[found.id]
            return found

        monkeypatch.setattr(home.images, "get", get)
        with pytest.raises(NotFound, match="No such image"):
            await home.create("true")
        assert await home.leftovers() == []

    async def test_an_image_is_in_use_while_a_container_is_being_made(self, home: House) -> None:
        creating = asyncio.ensure_future(home.create("true"))
        while not home.images.in_use(BUSYBOX_ID):  # noqa: ASYNC110
            await asyncio.sleep(0)
        await creating


class TestUpdate:
    async def test_limits_shrink_while_it_runs_and_stay(self, home: House) -> None:
        ident = await home.run("sleep", "infinity", memory=256 << 20, nano_cpus=2 * 10**9)
        assert await home.containers.update(T, ident, memory=128 << 20, nano_cpus=10**9, pids_limit=9) == []
        resources = home.machine.guest(ident).containers[ident].resources
        assert resources["memory"] == {"limit": 128 << 20} and resources["pids"] == {"limit": 9}
        assert resources["cpu"]["quota"] == 100_000
        await home.reopen()
        request = (await home.view(ident)).request
        assert (request.memory, request.nano_cpus, request.pids_limit) == (128 << 20, 10**9, 9)

    async def test_shares_change_and_limits_are_lifted_while_it_runs(self, home: House) -> None:
        ident = await home.run("sleep", "infinity", nano_cpus=10**9 // 2, pids_limit=9, memory_reservation=64 << 20)
        assert await home.containers.update(T, ident, cpu_shares=512) == []
        resources = home.machine.guest(ident).containers[ident].resources
        assert resources["cpu"] == {"quota": 50_000, "period": 100_000, "shares": 512}
        warned = await home.containers.update(T, ident, nano_cpus=-1, pids_limit=-1, door={"CpuQuota": -1})
        assert ["until its next start" in warning for warning in warned] == [True]
        resources = home.machine.guest(ident).containers[ident].resources
        assert resources["cpu"] == {"quota": -1, "shares": 512} and resources["pids"] == {"limit": -1}
        await home.reopen()
        request = (await home.view(ident)).request
        assert (request.nano_cpus, request.cpu_shares, request.pids_limit) == (0, 512, -1)
        assert request.door["HostConfig"]["CpuQuota"] == -1
        assert request.memory_reservation == 64 << 20

    async def test_growth_beyond_the_vm_is_unsupported_until_it_stops(self, home: House) -> None:
        ident = await home.run("sleep", "infinity", memory=64 << 20)
        with pytest.raises(Unsupported, match="cannot grow while it runs"):
            await home.containers.update(T, ident, memory=128 << 20)
        with pytest.raises(Unsupported):
            await home.containers.update(T, ident, nano_cpus=3 * 10**9)
        assert (await home.view(ident)).request.memory == 64 << 20
        await home.containers.stop(T, ident)
        await home.settled()
        await home.containers.update(T, ident, memory=128 << 20, nano_cpus=3 * 10**9)
        await home.containers.start(T, ident)
        vm = (await home.view(ident)).vm
        assert vm["vcpus"] == 3 and vm["memory"] == 128 << 20

    async def test_a_restart_policy_takes_effect_at_once(self, home: House) -> None:
        ident = await home.run("sleep", "infinity")
        await home.containers.update(T, ident, restart=RestartPolicy("always"))
        home.machine.crash(ident)
        await home.restarts(ident, 1)
        await home.until(ident, Status.RUNNING)

    async def test_nonsense_is_refused(self, home: House) -> None:
        ident = await home.create("true", auto_remove=True)
        with pytest.raises(Conflict, match="AutoRemove"):
            await home.containers.update(T, ident, restart=RestartPolicy("always"))
        with pytest.raises(InvalidArgument):
            await home.containers.update(T, ident, memory=5)
        with pytest.raises(InvalidArgument):
            await home.containers.update(T, ident, nano_cpus=99 * 10**9)


class TestEvents:
    def event(self, number: int, tenant: str = T) -> Event:
        return Event("container", str(number), "x", {}, number, tenant)

    async def test_the_past_then_what_comes(self) -> None:
        log = EventLog()
        for number in range(1, 5):
            log.publish(self.event(number))
        events = log.subscribe(T, since_ns=3)
        log.publish(self.event(5))
        got = [(await anext(events)).action for _ in range(3)]
        log.publish(self.event(6))
        assert [*got, (await anext(events)).action] == ["3", "4", "5", "6"]

    async def test_a_subscription_until_now_ends(self) -> None:
        log = EventLog()
        log.publish(self.event(1))
        assert [e.action async for e in log.subscribe(T, since_ns=1, until_ns=2)] == ["1"]
        soon = time.time_ns() + 30_000_000
        assert [e.action async for e in log.subscribe(T, since_ns=1, until_ns=soon)] == ["1"]

    async def test_each_tenant_its_own(self) -> None:
        log = EventLog()
        events = log.subscribe(T)
        log.publish(self.event(1, OTHER))
        log.publish(self.event(2))
        assert (await anext(events)).action == "2"

    async def test_the_noise_of_one_tenant_evicts_no_event_of_another(self) -> None:
        log = EventLog()
        log.publish(self.event(1))
        for number in range(2, KEPT + 3):
            log.publish(self.event(number, OTHER))
        assert [event.action async for event in log.subscribe(T, since_ns=1, until_ns=1)] == ["1"]
        theirs = [event.action async for event in log.subscribe(OTHER, since_ns=1, until_ns=KEPT + 10)]
        assert theirs == [str(number) for number in range(3, KEPT + 3)]

    async def test_of_too_many_tenants_the_longest_silent_is_forgotten(self) -> None:
        log = EventLog()
        for number in range(TENANTS):
            log.publish(self.event(1, f"tenant-{number}"))
        log.publish(self.event(2, "tenant-0"))
        log.publish(self.event(3, "one-more"))
        found = [
            [event.action async for event in log.subscribe(tenant, since_ns=1, until_ns=10)]
            for tenant in ("tenant-0", "tenant-1", "tenant-2", "one-more")
        ]
        assert found == [["1", "2"], [], ["1"], ["3"]]

    async def test_memory_is_bounded_and_a_slow_subscriber_holds_up_nobody(self) -> None:
        log = EventLog()
        slow = log.subscribe(T)
        for number in range(1, 50_000):
            log.publish(self.event(number))
        assert len([e async for e in log.subscribe(T, since_ns=1, until_ns=60_000)]) == KEPT
        assert int((await anext(slow)).action) > 30_000

    async def test_closing_ends_them(self) -> None:
        log = EventLog()
        events = log.subscribe(T)
        log.close()
        assert [e async for e in events] == []
        assert [e async for e in log.subscribe(T)] == []

    async def test_they_carry_name_image_labels_and_what_happened(self, home: House) -> None:
        events = home.cloud.events.subscribe(T)  # type: ignore[union-attr]
        ident = await home.run("sh", "-c", "exit 3", name="web", labels={"tier": "front"})
        await home.wait(ident)
        await home.containers.rename(T, ident, "ui")
        await home.containers.remove(T, ident)
        seen = [await anext(events) for _ in range(7)]
        assert [event.action for event in seen if event.type == "network"] == ["connect", "disconnect"]
        got = [event for event in seen if event.type != "network"]
        assert [event.action for event in got] == ["create", "start", "die", "rename", "destroy"]
        die = got[2].attributes
        assert die["exitCode"] == "3" and die["name"] == "web" and die["image"] == "busybox" and die["tier"] == "front"
        assert got[3].attributes["oldName"] == "/web" and got[4].attributes["name"] == "ui"
        assert all(event.type == "container" and event.actor == ident and event.tenant == T for event in got)


async def test_a_view_tells_what_was_asked_and_what_became_of_it(home: House) -> None:
    ident = await home.create("true", size="s2", labels={"a": "b"}, door={"Config": {"echo": [1, {"x": None}]}})
    view = await home.view(ident)
    assert view.args == ("true",) and view.request.labels == {"a": "b"}
    assert view.request.door == {"Config": {"echo": [1, {"x": None}]}}
    assert view.request.hostname == ident[:12] and view.stop_signal == "SIGTERM" and view.working_dir == "/"
    assert view.port.places and view.image_id == BUSYBOX_ID and view.vm["memory"] == 128 << 20 and view.vm["vcpus"] == 1
    await home.reopen()
    assert (await home.view(ident)).request == view.request
