# SPDX-License-Identifier: Apache-2.0
"""What an image or a request may make the daemon keep, or do, for one container (A12 of docs/security.md)."""

from __future__ import annotations

from typing import Any

import pytest

from hypercell.base.errors import InvalidArgument
from hypercell.cloud.contract import ContainerRequest, ExecRequest, PublishedPort
from tests.support.house import House, T
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


async def test_an_event_carries_no_command_of_a_megabyte(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    assert home.cloud is not None
    await home.containers.exec_create(T, ident, ExecRequest(("echo", "x" * 2**20)))
    events = home.cloud.events.subscribe(T, since_ns=1, until_ns=1 << 62)
    async for event in events:
        assert len(event.action) < 5000
        if event.action.startswith("exec_create: echo xxx"):
            break
