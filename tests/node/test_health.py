# SPDX-License-Identifier: Apache-2.0
"""Health checks: what probes tell, what follows from it, and when nobody probes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hypercell.agent.fake import Faults
from hypercell.agent.fake.process import Process
from hypercell.base.errors import Conflict
from hypercell.cloud.contract import ContainerView, HealthRequest, HealthStatus, Status
from hypercell.node.health import Health, HealthCheck, ProbeResult
from hypercell.node.probing import Prober
from tests.support.house import House, Resident, T, eventually

MS = 10**6
HOUR = 3600 * 10**9
QUICK = HealthRequest(("CMD", "cat", "/well"), interval=MS, retries=2)
"""Healthy while there is a file."""
STARTING, HEALTHY, UNHEALTHY = HealthStatus.STARTING, HealthStatus.HEALTHY, HealthStatus.UNHEALTHY


def result(code: int, at: int = 0) -> ProbeResult:
    return ProbeResult(at, at, code, "")


def check(**changes: Any) -> HealthCheck:
    return replace(HealthCheck(("true",), 30, 30, 0, 5, 3), **changes)


class TestRules:
    def test_it_takes_as_many_failures_in_a_row_as_retries_say_and_one_success(self) -> None:
        health, seen = Health(STARTING), []
        for code in (1, 1, 0, 1, 1, 0, 1, 2, -1, 1, 0):
            health = health.after(result(code), check(), 0)
            seen.append((health.status, health.failing_streak))
        before = [(STARTING, 1), (STARTING, 2), (HEALTHY, 0), (HEALTHY, 1), (HEALTHY, 2), (HEALTHY, 0)]
        assert seen == [*before, (HEALTHY, 1), (HEALTHY, 2), (UNHEALTHY, 3), (UNHEALTHY, 4), (HEALTHY, 0)]

    def test_failures_in_the_start_period_do_not_count_until_a_probe_has_succeeded(self) -> None:
        patient, began = check(start_period=100, retries=1), 1000
        health = Health(STARTING).after(result(1, 1099), patient, began)
        assert (health.status, health.failing_streak, len(health.log)) == (STARTING, 0, 1)
        assert health.after(result(1, 1100), patient, began).status is UNHEALTHY
        well = health.after(result(0, 1050), patient, began)
        assert well.after(result(1, 1060), patient, began).status is UNHEALTHY

    def test_probes_are_as_frequent_as_the_start_interval_while_it_starts(self) -> None:
        patient = check(start_period=100)
        assert patient.pause(STARTING, 99) == 5
        assert patient.pause(STARTING, 100) == 30
        assert patient.pause(HEALTHY, 1) == patient.pause(UNHEALTHY, 1) == 30

    def test_the_last_five_results_are_kept_the_oldest_first(self) -> None:
        health = Health(STARTING)
        for at in range(8):
            health = health.after(result(0, at), check(), 0)
        assert [entry.start_ns for entry in health.log] == [3, 4, 5, 6, 7]

    @pytest.mark.parametrize("changes", [{"args": ()}, {"interval": 0}, {"timeout": -1}, {"retries": 0}])
    def test_what_could_not_be_carried_out_is_none(self, changes: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="carried out"):
            check(**changes)


def make_well(home: House, ident: str, well: bool = True) -> None:
    tree = home.machine.guest(ident).containers[ident].tree
    if well:
        tree.write("/well", b"fine\n")
    else:
        tree.remove("/well")


async def until(home: House, ident: str, true: Callable[[ContainerView], bool]) -> ContainerView:
    async def so() -> bool:
        return true(await home.view(ident))

    await eventually(so)
    return await home.view(ident)


async def until_is(home: House, ident: str, status: HealthStatus) -> Health:
    def is_so(view: ContainerView) -> bool:
        return view.state.health is not None and view.state.health.status is status

    health = (await until(home, ident, is_so)).state.health
    assert health is not None
    return health


def told(home: House, ident: str) -> list[str]:
    return [action for action in home.actions(ident) if action.startswith("health_status")]


async def health_of(home: House, ident: str) -> Health | None:
    return (await home.view(ident)).state.health


def processes(home: House, ident: str) -> list[Process]:
    return home.machine.guest(ident).containers[ident].running()


async def sleeper(home: House, **health: Any) -> str:
    return await home.run("sleep", "infinity", health=replace(QUICK, **health))


async def test_it_starts_becomes_well_falls_ill_and_recovers_and_each_change_is_told_once(home: House) -> None:
    ident = await sleeper(home, start_period=HOUR, start_interval=MS)
    health = await until_is(home, ident, STARTING)
    await until(home, ident, lambda view: len(view.state.health.log) == 5)  # type: ignore[union-attr]
    health = await until_is(home, ident, STARTING)
    assert (health.failing_streak, health.log[-1].exit_code) == (0, 1)
    assert health.log[-1].output == "cat: /well: No such file or directory\n"
    assert told(home, ident) == []
    make_well(home, ident)
    health = await until_is(home, ident, HEALTHY)
    assert (health.log[-1].exit_code, health.log[-1].output) == (0, "fine\n")
    assert health.log[-1].start_ns <= health.log[-1].end_ns
    make_well(home, ident, False)
    assert (await until_is(home, ident, UNHEALTHY)).failing_streak >= 2
    make_well(home, ident)
    await until_is(home, ident, HEALTHY)
    assert told(home, ident) == [f"health_status: {word}" for word in ("healthy", "unhealthy", "healthy")]


async def test_a_probe_is_told_as_an_exec_and_does_not_push_out_those_of_users(home: House) -> None:
    ident = await sleeper(home)
    await until(home, ident, lambda view: home.actions(ident).count("exec_die") >= 3)
    actions = [action for action in home.actions(ident) if action.startswith("exec")]
    assert actions[:3] == ["exec_create: cat /well", "exec_start: cat /well", "exec_die"]
    attributes = home.attributes(ident, "exec_die")
    assert attributes["exitCode"] == "1" and len(attributes["execID"]) == 64
    assert len(home.node.get(ident).execs) <= 1


async def test_a_probe_runs_as_the_containers_user_in_its_directory_and_environment(home: House) -> None:
    shell = HealthRequest(("CMD-SHELL", "env; pwd"), interval=MS)
    ident = await home.run("sleep", "infinity", health=shell, env=("A=b",), working_dir="/w", user="5", tty=True)
    log = (await until_is(home, ident, HEALTHY)).log
    assert "A=b\n" in log[-1].output and log[-1].output.endswith("\n/w\n")
    spec = home.node.get(ident).record.spec
    assert spec.health is not None and spec.health.args == ("/bin/sh", "-c", "env; pwd")
    assert spec.oci["process"]["user"]["username"] == "5"


async def test_of_a_probes_output_4096_bytes_are_kept_and_the_rest_holds_up_nothing(home: House) -> None:
    script = "; ".join(["echo " + "x" * 99] * 5000)
    ident = await sleeper(home, test=("CMD-SHELL", script))
    output = (await until_is(home, ident, HEALTHY)).log[-1].output
    assert output == (("x" * 99 + "\n") * 41)[:4096] + "..."


async def test_bytes_that_are_no_text_are_replaced(home: House) -> None:
    ident = await sleeper(home)
    home.machine.guest(ident).containers[ident].tree.write("/well", b"a\xff\n")
    assert (await until_is(home, ident, HEALTHY)).log[-1].output == "a\N{REPLACEMENT CHARACTER}\n"


async def test_a_probe_that_takes_too_long_is_killed_and_is_a_failure_in_dockers_words(home: House) -> None:
    ident = await sleeper(home, test=("CMD-SHELL", "echo so far; stubborn"), timeout=20 * MS, retries=1)
    log = (await until_is(home, ident, UNHEALTHY)).log
    assert (log[0].exit_code, log[0].output) == (-1, "Health check exceeded timeout (20ms): so far\n")
    assert len(processes(home, ident)) <= 2, "probes pile up"


async def test_a_probe_that_cannot_be_killed_holds_up_the_next(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    home.node.services.bounds = replace(home.bounds, kill=0.01)
    ident = await sleeper(home, test=("CMD", "stubborn"), timeout=MS, retries=1)
    monkeypatch.setattr(Process, "deliver", lambda self, number: None)
    await until_is(home, ident, UNHEALTHY)
    prober = home.node.get(ident).prober
    assert prober is not None and prober._probe is not None
    stuck = prober._probe
    monkeypatch.undo()
    assert stuck.under_way and len(processes(home, ident)) == 2
    for process in processes(home, ident):
        if process.name == stuck.exec.id:
            process.deliver(9)
    await until(home, ident, lambda view: prober._probe is not stuck)


@pytest.mark.parametrize(("program", "said"), [("nothere", "nothere"), ("denied", "denied")])
async def test_a_probe_that_cannot_be_run_is_a_failure_that_says_why(home: House, program: str, said: str) -> None:
    ident = await sleeper(home, test=("CMD", program))
    last = (await until_is(home, ident, UNHEALTHY)).log[-1]
    assert last.exit_code == -1 and said in last.output


async def test_while_it_is_paused_nobody_probes_and_the_probe_under_way_is_killed(home: House) -> None:
    ident = await sleeper(home, test=("CMD", "stubborn"))
    await until(home, ident, lambda view: len(processes(home, ident)) == 2)
    await home.containers.pause(T, ident)
    await until(home, ident, lambda view: len(processes(home, ident)) == 1)
    assert (await until_is(home, ident, UNHEALTHY)).log == ()
    begun = len(home.actions(ident))
    assert home.node.get(ident).prober._task is None  # type: ignore[union-attr]
    await home.containers.unpause(T, ident)
    await until(home, ident, lambda view: len(processes(home, ident)) == 2)
    assert len(home.actions(ident)) > begun
    assert told(home, ident) == []


async def test_a_pause_that_fails_leaves_it_probed(home: House) -> None:
    ident = await sleeper(home)
    await until_is(home, ident, UNHEALTHY)
    home.machine.guest(ident).faults.errors["container.pause"] = ("busy", "the container's processes do not stop")
    with pytest.raises(Conflict):
        await home.containers.pause(T, ident)
    make_well(home, ident)
    await until_is(home, ident, HEALTHY)


async def test_a_signal_that_thaws_a_container_has_it_probed_again(home: House) -> None:
    ident = await home.run("stubborn", health=QUICK)
    await home.containers.pause(T, ident)
    make_well(home, ident)
    await home.containers.kill(T, ident, "HUP")
    await until_is(home, ident, HEALTHY)


async def test_a_probe_that_is_being_started_when_its_container_is_paused_is_killed_too(home: House) -> None:
    """Whenever the pause comes, no process is left."""
    ident = await sleeper(home, test=("CMD", "stubborn"), timeout=MS)
    for _ in range(30):
        await home.containers.pause(T, ident)
        await until(home, ident, lambda view: len(processes(home, ident)) == 1)
        await home.containers.unpause(T, ident)


async def test_one_that_stopped_is_not_probed_and_begins_anew_with_what_it_had_logged(home: House) -> None:
    ident = await home.create("sleep", "infinity", health=QUICK)
    assert await health_of(home, ident) is None
    await home.containers.start(T, ident)
    make_well(home, ident)
    await until_is(home, ident, HEALTHY)
    await home.containers.stop(T, ident, 0)
    health = await until_is(home, ident, UNHEALTHY)
    assert health.log and home.node.get(ident).prober is None
    assert told(home, ident) == ["health_status: healthy"]
    await home.containers.start(T, ident)
    begun = await health_of(home, ident)
    assert begun is not None and begun.status is STARTING and begun.failing_streak == 0
    assert {entry.start_ns for entry in begun.log} & {entry.start_ns for entry in health.log}


async def test_no_task_is_left_of_a_container_that_ended_in_the_middle_of_a_probe(home: House) -> None:
    ident = await sleeper(home, test=("CMD", "stubborn"))
    await until(home, ident, lambda view: len(processes(home, ident)) == 2)
    await home.containers.remove(T, ident, force=True)
    assert await home.leftovers() == []

    async def none() -> bool:
        names = [task.get_name() for task in asyncio.all_tasks()]
        return not any("exec" in name or "health" in name or "probe" in name for name in names)

    await eventually(none)


async def probes(home: Resident, ident: str) -> list[int]:
    """The pids of those that run."""
    return [row["pid"] for row in await home.containers.top(T, ident) if row["args"] == ["sleep", "6000"]]


async def test_an_adopted_container_goes_on_being_probed_and_its_old_probe_is_ended(any_home: Resident) -> None:
    home = any_home
    ident = await home.run("sleep", "infinity", health=replace(QUICK, test=("CMD", "sleep", "6000")))
    await eventually(lambda: one(home, ident, 0))
    (old,) = await probes(home, ident)
    await home.reopen()
    health = (await home.view(ident)).state.health
    assert health is not None and (health.status, health.failing_streak) == (STARTING, 0)
    await eventually(lambda: one(home, ident, old))


async def one(home: Resident, ident: str, other_than: int) -> bool:
    found = await probes(home, ident)
    return len(found) == 1 and found[0] != other_than


async def test_a_pause_kills_the_probe_under_way_in_every_guest(any_home: Resident) -> None:
    home = any_home
    ident = await home.run("sleep", "infinity", health=replace(QUICK, test=("CMD", "sleep", "6000")))
    await eventually(lambda: one(home, ident, 0))
    (old,) = await probes(home, ident)
    await home.containers.pause(T, ident)

    async def none() -> bool:
        return await probes(home, ident) == []

    await eventually(none)
    await home.containers.unpause(T, ident)
    await eventually(lambda: one(home, ident, old))


async def test_an_adopted_container_becomes_well_again(home: House) -> None:
    ident = await sleeper(home)
    make_well(home, ident)
    await until_is(home, ident, HEALTHY)
    await home.reopen()
    await until_is(home, ident, HEALTHY)


async def test_one_that_ended_before_the_daemon_came_up_is_shown_as_docker_does(home: House) -> None:
    ident = await sleeper(home)
    await home.containers.stop(T, ident, 0)
    await home.reopen()
    assert await health_of(home, ident) == Health(UNHEALTHY)


async def test_while_its_guest_is_not_reached_nothing_counts(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ident = await sleeper(home, retries=1)
    make_well(home, ident)
    await until_is(home, ident, HEALTHY)
    pauses = 0
    reachable = Prober._reachable

    def counted(prober: Prober) -> bool:
        nonlocal pauses
        found = reachable(prober)
        pauses += not found
        return found

    monkeypatch.setattr(Prober, "_reachable", counted)
    guest = home.machine.guest(ident)
    guest.faults = Faults(mute=True)
    guest.drop()

    async def skipped() -> bool:
        return pauses > 5

    await eventually(skipped)
    guest.faults = Faults()
    agent = home.node.get(ident).pod.agent

    async def back() -> bool:
        now = home.node.get(ident).pod.agent
        return now is not agent and now is not None

    await eventually(back)
    assert (await until_is(home, ident, HEALTHY)).failing_streak == 0
    assert told(home, ident) == ["health_status: healthy"]


async def test_a_daemon_that_ends_in_the_middle_of_many_probes_ends_them_all(home: House) -> None:
    """However close to its end a probe is: no cancellation is swallowed."""
    idents = [await sleeper(home, test=("CMD", "true")) for _ in range(10)]
    for ident in idents:
        await until_is(home, ident, HEALTHY)
    async with asyncio.timeout(20):
        await home.reopen()
    for ident in idents:
        await until_is(home, ident, HEALTHY)


@pytest.mark.parametrize("health", [None, HealthRequest(("NONE",)), HealthRequest(interval=MS)])
async def test_without_a_command_there_is_no_health_and_no_task(home: House, health: HealthRequest | None) -> None:
    ident = await home.run("sleep", "infinity", health=health)
    container = home.node.get(ident)
    assert (container.prober, container.health, await health_of(home, ident)) == (None, None, None)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("health")]


async def test_a_list_shows_each_change(home: House) -> None:
    ident = await sleeper(home, start_period=HOUR, start_interval=MS)

    async def listed(status: HealthStatus) -> bool:
        (view,) = await home.containers.list(T)
        return view.state.status is Status.RUNNING and view.state.health.status is status

    await eventually(lambda: listed(STARTING))
    make_well(home, ident)
    await eventually(lambda: listed(HEALTHY))
