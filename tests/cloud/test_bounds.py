# SPDX-License-Identifier: Apache-2.0
"""What an image or a request may make the daemon keep, or do, for one container (A12 of docs/security.md)."""

from __future__ import annotations

from typing import Any

import pytest

from hypercell.base.errors import InvalidArgument, NotFound
from hypercell.cloud.contract import ContainerRequest, ExecRequest, PublishedPort
from hypercell.node.exec_eviction import WAITING, WAITING_BYTES, WAITING_SECONDS
from tests.support.house import House, T, read
from tests.support.image_shelf import image

EVERY = ("1-65535/tcp", "1-65535/udp")
IMAGES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"exposed_ports": EVERY}, {"publish_all": True}, "ports"),
    ({"exposed_ports": tuple(f"{n}-{n + 900}/tcp" for n in range(1, 60_000))}, {"publish_all": True}, "ports"),
    ({"exposed_ports": tuple(f"{n}/tcp" for n in range(1, 1002))}, {"publish_all": True}, "ports"),
    ({}, {"published": tuple(PublishedPort(80, "tcp", "", 0) for _ in range(1001))}, "ports"),
    ({"labels": {f"{n:x}": "" for n in range(280_000)}}, {}, "labels"),
    ({"labels": {"a": "x" * 2**21}}, {}, "labels"),
    ({"labels": {f"i{n}": "" for n in range(600)}}, {"labels": {f"r{n}": "" for n in range(600)}}, "labels"),
]


@pytest.mark.parametrize(("config", "request_", "what"), IMAGES)
async def test_too_much_of_anything_is_refused(
    home: House, config: dict[str, Any], request_: dict[str, Any], what: str
) -> None:
    home.images.put(image("hostile:latest", "sha256:" + "e" * 64, **config))
    with pytest.raises(InvalidArgument, match=f"more than 1000 {what}"):
        await home.containers.create(T, ContainerRequest("hostile", **request_))
    assert await home.leftovers() == []


@pytest.mark.parametrize("exposed", [EVERY, IMAGES[1][0]["exposed_ports"]], ids=["ranges", "many"])
async def test_what_an_image_exposes_is_shown_to_a_bound_and_not_published(
    home: House, exposed: tuple[str, ...]
) -> None:
    home.images.put(image("hostile:latest", "sha256:" + "e" * 64, exposed_ports=exposed))
    ident, warnings = await home.containers.create(T, ContainerRequest("hostile"))
    request = (await home.view(ident)).request
    assert 900 < len(request.exposed) <= 1000 and request.published == ()
    assert "more than 1000 ports are exposed" in warnings[0]


async def test_a_range_that_an_image_exposes_is_so_many_ports(home: House) -> None:
    """Whoever lists containers takes each for a number."""
    home.images.put(
        image("hostile:latest", "sha256:" + "e" * 64, exposed_ports=("80/tcp", "8000-8002/udp", "80-81/tcp"))
    )
    ident, warnings = await home.containers.create(T, ContainerRequest("hostile", exposed=("9",), publish_all=True))
    request = (await home.view(ident)).request
    assert request.exposed == ("80/tcp", "8000/udp", "8001/udp", "8002/udp", "81/tcp", "9/tcp")
    assert [f"{port.container_port}/{port.protocol}" for port in request.published] == list(request.exposed)
    assert warnings == []


async def test_an_event_carries_no_command_of_half_a_megabyte(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    assert home.cloud is not None
    await home.containers.exec_create(T, ident, ExecRequest(("echo", "x" * 2**19)))
    events = home.cloud.events.subscribe(T, since_ns=1, until_ns=1 << 62)
    async for event in events:
        assert len(event.action) < 5000
        if event.action.startswith("exec_create: echo xxx"):
            break


async def test_an_exec_that_no_guest_could_be_sent_is_refused(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    with pytest.raises(InvalidArgument, match="longer than 768 KiB: put long values into files"):
        await home.containers.exec_create(T, ident, ExecRequest(("echo", "x" * 2**20)))


async def started(home: House, exec_id: str) -> bytes:
    attachment = await home.containers.exec_start(T, exec_id, False)
    return await read(attachment.output())


async def test_execs_that_nobody_starts_give_way_to_those_that_somebody_does(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    idle = [await home.containers.exec_create(T, ident, ExecRequest(("true",))) for _ in range(WAITING + 5)]
    assert len(home.node.get(ident).execs) == WAITING
    assert await started(home, await home.containers.exec_create(T, ident, ExecRequest(("echo", "hi")))) == b"hi\n"
    for gone in idle[:5]:
        with pytest.raises(NotFound, match="No such exec instance"):
            await home.containers.exec_start(T, gone, False)
    await started(home, idle[-1])


async def test_large_execs_that_nobody_starts_are_bounded_by_their_bytes(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    for _ in range(20):
        last = await home.containers.exec_create(T, ident, ExecRequest(("true", "x" * 700_000)))
    execs = home.node.get(ident).execs
    assert sum(known.spec.size for known in execs.values()) <= WAITING_BYTES and len(execs) > 1
    await started(home, last)


async def test_an_exec_that_was_not_started_for_long_is_forgotten_and_a_running_one_never(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    container = home.node.get(ident)
    running = await home.containers.exec_create(T, ident, ExecRequest(("sleep", "infinity")))
    await home.containers.exec_start(T, running, True)
    idle = await home.containers.exec_create(T, ident, ExecRequest(("true",)))
    for known in container.execs.values():
        known.created -= WAITING_SECONDS + 1
    fresh = await home.containers.exec_create(T, ident, ExecRequest(("true",)))
    assert set(container.execs) == {running, fresh} and idle not in container.execs
