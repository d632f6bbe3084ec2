# SPDX-License-Identifier: Apache-2.0
"""`POST /containers/{id}/update`: each limit that dockerd's update knows, and what it says of those that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Client
from .door import Make

_CPU_TIME = ("NanoCpus", "CpuQuota", "CpuPeriod")


async def update(client: Client, name: str, version: str = "", **limits: Any) -> tuple[int, Any]:
    path = f"{version}/containers/{name}/update"
    status, answer = await client.ask("POST", path, limits)
    return status, answer.get("Warnings", answer.get("message"))


async def shown(client: Client, name: str, *members: str) -> tuple[Any, ...]:
    host = (await client.ask("GET", f"/containers/{name}/json"))[1]["HostConfig"]
    return tuple(host[member] for member in members)


@pytest.mark.parametrize("running", [True, False])
async def test_each_limit_is_changed_and_shown(client: Client, make: Make, running: bool) -> None:
    name = await make("sleep", "60", start=running, host={"Memory": 256 << 20})
    limits = {
        "CpuShares": 512,
        "CpusetCpus": "0",
        "CpusetMems": "0",
        "Memory": 128 << 20,
        "MemoryReservation": 64 << 20,
        "PidsLimit": 50,
        "NanoCpus": 500_000_000,
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
    }
    assert await update(client, name, **limits) == (200, [])
    assert await shown(client, name, *limits) == tuple(limits.values())
    assert await update(client, name, CpuShares=0, CpusetCpus="", Memory=0, PidsLimit=None) == (200, [])
    assert await shown(client, name, *limits) == tuple(limits.values())
    assert await update(client, name, PidsLimit=-1) == (200, [])
    assert await shown(client, name, "PidsLimit") == (None,)


async def test_quota_and_period_change_one_by_one(client: Client, make: Make) -> None:
    name = await make("sleep", "60", start=True, host={"CpuQuota": 2000, "CpuPeriod": 2000})
    assert await shown(client, name, *_CPU_TIME) == (0, 2000, 2000)
    assert await update(client, name, CpuQuota=1000) == (200, [])
    assert await update(client, name, CpuPeriod=4000) == (200, [])
    assert await shown(client, name, *_CPU_TIME) == (0, 1000, 4000)
    status, words = await update(client, name, NanoCpus=10**9)
    assert (status, words) == (
        409,
        "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
    )
    status, warnings = await update(client, name, CpuQuota=-1)
    assert (status, len(warnings)) == (200, 1)  # the host's own limit of the VM stays until its next start
    assert await shown(client, name, *_CPU_TIME) == (0, -1, 4000)


@pytest.mark.parametrize(("member", "words"), [("CpuPeriod", "CPU Period"), ("CpuQuota", "CPU Quota")])
async def test_what_is_limited_in_cpus_is_not_limited_otherwise(
    client: Client, make: Make, member: str, words: str
) -> None:
    name = await make("cat", host={"NanoCpus": 10**9})
    assert await update(client, name, **{member: 5000}) == (
        409,
        f"Conflicting options: {words} cannot be updated as NanoCPUs has already been set",
    )
    assert await shown(client, name, *_CPU_TIME) == (10**9, 0, 0)


async def test_what_a_vm_has_no_use_for_is_warned_of(client: Client, make: Make) -> None:
    name = await make("sleep", "60", start=True)
    for limits in ({"BlkioWeight": 300}, {"MemorySwap": 1 << 30}, {"MemorySwappiness": 5}, {"CpuPercent": 3}):
        status, warnings = await update(client, name, **limits)
        assert (status, len(warnings)) == (200, 1), limits


async def test_old_members_have_the_meaning_of_their_versions(client: Client, make: Make) -> None:
    name = await make("cat")
    for version, warned in (("/v1.41", 1), ("/v1.42", 0)):
        status, warnings = await update(client, name, version, KernelMemory=64 << 20)
        assert (status, len(warnings)) == (200, warned)
    for version, limit in (("/v1.39", None), ("/v1.40", 9)):
        assert (await update(client, name, version, PidsLimit=9))[0] == 200
        assert await shown(client, name, "PidsLimit") == (limit,)


@pytest.mark.parametrize(
    ("limits", "status", "words"),
    [
        ({"Memory": 5}, 400, "Minimum memory limit allowed is 6MB"),
        ({"MemoryReservation": 5}, 400, "Minimum memory reservation allowed is 6MB"),
        ({"Memory": 64 << 20, "MemoryReservation": 128 << 20}, 400, "Minimum memory limit can not be less than memory"),
        ({"Memory": 64 << 20, "MemorySwap": 8 << 20}, 400, "Minimum memoryswap limit should be larger than memory"),
        ({"CpuShares": -1}, 400, "invalid CPU shares (-1)"),
        ({"CpuShares": 300_000}, 400, "the CPU shares must lie between 2 and 262144"),
        ({"CpuPeriod": 5}, 400, "CPU cfs period can not be less than 1ms"),
        ({"CpuQuota": 5}, 400, "CPU cfs quota can not be less than 1ms"),
        ({"CpuQuota": 5000, "NanoCpus": 10**9}, 400, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        ({"NanoCpus": 10**15}, 400, "range of CPUs is from 0.01 to "),
        ({"CpusetMems": "1"}, 400, "Requested memory nodes are not available - requested 1, available: 0"),
        ({"CpuRealtimePeriod": 5}, 501, "CpuRealtimePeriod is not built yet"),
        ({"RestartPolicy": {"Name": "odd"}}, 400, "invalid restart policy: unknown policy 'odd'"),
    ],
    ids=str,
)
async def test_what_cannot_be_changes_nothing(
    client: Client, make: Make, limits: dict[str, Any], status: int, words: str
) -> None:
    name = await make("cat")
    before = (await client.ask("GET", f"/containers/{name}/json"))[1]
    answered, message = await update(client, name, **limits)
    assert (answered, message[: len(words)]) == (status, words)
    assert (await client.ask("GET", f"/containers/{name}/json"))[1] == before
    assert await update(client, "nope", CpuShares=5) == (404, "No such container: nope")
