# SPDX-License-Identifier: Apache-2.0
"""Health checks as clients of the Engine API ask for them and see them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from hypercell.api.docker.create import parse_create
from hypercell.cloud.contract import HealthRequest

from .conftest import Client
from .door import IMAGE, Make
from .test_docker_door import small_tar

MS = 10**6
CHECK = {"Test": ["CMD", "cat", "/tmp/well"], "Interval": MS, "Retries": 1}
"""Healthy while there is a file."""


def asked(**members: Any) -> HealthRequest | None:
    return parse_create(json.dumps({"Image": "busybox", **members}).encode(), "").request.health


def test_what_a_request_says_arrives() -> None:
    assert asked() is None
    assert asked(Healthcheck=None) is None
    assert asked(Healthcheck={}) == HealthRequest()
    assert asked(healthcheck={"test": ["NONE"]}) == HealthRequest(("NONE",))
    whole = {
        "Test": ["CMD-SHELL", "a"],
        "Interval": 1,
        "Timeout": 2,
        "StartPeriod": 3,
        "StartInterval": 4,
        "Retries": 5,
    }
    assert asked(Healthcheck=whole) == HealthRequest(("CMD-SHELL", "a"), 1, 2, 3, 4, 5)


async def inspected(client: Client, name: str) -> Any:
    return (await client.ask("GET", f"/containers/{name}/json"))[1]


async def until(client: Client, name: str, status: str) -> Any:
    async with asyncio.timeout(20):
        while (health := (await inspected(client, name))["State"]["Health"])["Status"] != status:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return health


async def listed(client: Client, **filters: list[str]) -> dict[str, str]:
    """Statuses by name."""
    _, answer = await client.ask("GET", f"/containers/json?all=1&filters={quote(json.dumps(filters))}")
    answer = [answer] if isinstance(answer, dict) else answer
    return {item["Names"][0].removeprefix("/"): item["Status"] for item in answer}


async def actions(client: Client, name: str, since: float, **filters: list[str]) -> list[str]:
    wanted = quote(json.dumps({"container": [name], **filters}))
    _, found = await client.ask("GET", f"/events?since={since}&until={time.time()}&filters={wanted}")
    return [event["Action"] for event in ([found] if isinstance(found, dict) else found)]


async def test_a_container_falls_ill_and_recovers_before_every_clients_eyes(client: Client, make: Make) -> None:
    since = time.time() - 1
    name = await make("sleep", "60", start=True, Healthcheck=CHECK)
    ill = await until(client, name, "unhealthy")
    assert ill["FailingStreak"] >= 1 and 1 <= len(ill["Log"]) <= 5
    entry = ill["Log"][-1]
    assert set(entry) == {"Start", "End", "ExitCode", "Output"}
    assert (entry["ExitCode"], entry["Output"]) == (1, "cat: /tmp/well: No such file or directory\n")
    assert entry["Start"].endswith("Z") and entry["End"].endswith("Z")
    assert (await listed(client, name=[f"^{name}$"]))[name].endswith(" (unhealthy)")
    await client.ask("PUT", f"/containers/{name}/archive?path=/tmp", small_tar("well", b"ok"), {"X-Kind": "tar"})
    well = await until(client, name, "healthy")
    assert well["FailingStreak"] == 0 and well["Log"][-1]["Output"] == "ok"
    assert (await listed(client, name=[f"^{name}$"]))[name].endswith(" (healthy)")
    told = await actions(client, name, since, event=["health_status"])
    assert told == ["health_status: unhealthy", "health_status: healthy"]
    assert await actions(client, name, since, event=["health_status: healthy"]) == ["health_status: healthy"]
    assert "exec_create: cat /tmp/well" in await actions(client, name, since)
    await client.ask("POST", f"/containers/{name}/pause")
    assert (await listed(client, name=[f"^{name}$"]))[name].endswith(" (Paused)")


async def test_lists_are_filtered_by_health(client: Client, make: Make) -> None:
    plain = await make("sleep", "60", start=True)
    created = await make("sleep", "60", Healthcheck=CHECK)
    starting = await make("sleep", "60", start=True, Healthcheck={**CHECK, "Interval": 3600 * 10**9})
    well = await make("sleep", "60", start=True, Healthcheck={**CHECK, "Test": ["CMD", "true"]})
    ill = await make("sleep", "60", start=True, Healthcheck=CHECK)
    await until(client, well, "healthy")
    await until(client, ill, "unhealthy")
    assert set(await listed(client, health=["none"])) >= {plain, created}
    by_status = {"starting": starting, "healthy": well, "unhealthy": ill}
    for status, name in by_status.items():
        found = await listed(client, health=[status])
        assert set(found) == {name}
        assert found[name].endswith(f" ({'health: ' * (status == 'starting')}{status})")
    assert set(await listed(client, health=["healthy", "unhealthy"])) == {well, ill}
    assert (await client.ask("GET", '/containers/json?filters={"health":["fine"]}'))[0] == 400
    assert "Health" not in (await inspected(client, plain))["State"]
    assert "Health" not in (await inspected(client, created))["State"]


@pytest.mark.parametrize(
    ("check", "shown"),
    [
        ({"Test": ["NONE"]}, {"Test": ["NONE"]}),
        ({"Test": ["CMD", "true"], "Interval": 0}, {"Test": ["CMD", "true"]}),
        (dict.fromkeys(("Timeout", "StartPeriod", "StartInterval"), MS), None),
    ],
)
async def test_an_inspection_shows_what_was_asked_for(client: Client, make: Make, check: Any, shown: Any) -> None:
    name = await make("true", Healthcheck=check, Shell=["/bin/ash", "-c"])
    config = (await inspected(client, name))["Config"]
    assert config["Healthcheck"] == (shown or check)
    assert config["Shell"] == ["/bin/ash", "-c"]
    assert "Healthcheck" not in (await inspected(client, await make("true")))["Config"]


async def test_the_start_interval_is_of_versions_that_know_it(client: Client) -> None:
    body = {"Image": IMAGE, "Healthcheck": {"Test": ["CMD", "true"], "StartInterval": 7 * MS}}
    for version, shown in (("1.43", None), ("1.44", 7 * MS)):
        _, made = await client.ask("POST", f"/v{version}/containers/create", body)
        config = (await inspected(client, made["Id"]))["Config"]
        assert config["Healthcheck"].get("StartInterval") == shown
        await client.ask("DELETE", f"/containers/{made['Id']}")


async def test_what_cannot_be_is_refused_in_dockers_words(client: Client) -> None:
    body = {"Image": IMAGE, "Healthcheck": {"Test": ["CMD", "true"], "Interval": 999_999}}
    status, answer = await client.ask("POST", "/containers/create", body)
    assert (status, answer) == (400, {"message": "Interval in Healthcheck cannot be less than 1ms"})
