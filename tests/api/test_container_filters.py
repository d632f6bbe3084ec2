# SPDX-License-Identifier: Apache-2.0
"""The filters of `GET /containers/json`: what each of them finds, and what dockerd says to values that are wrong."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from hypercell.api.docker.container_filters import descendants
from hypercell.images.contract import Image, ImageConfig

from .conftest import Client
from .door import IMAGE, Make


async def ask(client: Client, filters: Any, query: str = "all=1") -> tuple[int, Any]:
    text = filters if isinstance(filters, str) else json.dumps(filters)
    return await client.ask("GET", f"/containers/json?{query}&filters={quote(text)}")


async def listed(client: Client, query: str = "all=1", **filters: list[str] | None) -> set[str]:
    status, answer = await ask(client, filters, query)
    assert status == 200, answer
    return {item["Names"][0].removeprefix("/") for item in answer}


async def ident(client: Client, name: str) -> str:
    return str((await client.ask("GET", f"/containers/{name}/json"))[1]["Id"])


async def test_ports_are_found_as_published_or_as_exposed(client: Client, make: Make) -> None:
    bindings = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18099"}]}
    web = await make("sleep", "60", start=True, host={"PortBindings": bindings}, ExposedPorts={"53/udp": {}})
    other = await make("sleep", "60", start=True, ExposedPorts={"99/tcp": {}})
    await make(ExposedPorts={"99/tcp": {}})  # what does not run has no ports
    assert await listed(client, publish=["18099"]) == {web}
    assert await listed(client, publish=["18000-18100/tcp"]) == {web}
    assert await listed(client, publish=["80"]) == set()
    assert await listed(client, publish=["18099/udp"]) == set()
    assert await listed(client, expose=["80"]) == {web}
    assert await listed(client, expose=["53/udp"]) == {web}
    assert await listed(client, expose=["99/"], publish=["18099"]) == {web, other}
    assert await listed(client, publish=["0"]) == {other}  # docker's: a port that is not published
    assert {web, other} <= await listed(client, publish=[])


async def test_volumes_are_found_by_name_path_and_place(client: Client, make: Make) -> None:
    on = await make(host={"Binds": ["full-one:/data"], "Mounts": [{"Type": "tmpfs", "Target": "/scratch"}]})
    await make()
    for place in ("full-one", "/data", "/scratch"):
        assert await listed(client, volume=[place]) == {on}
    assert await listed(client, volume=["full"]) == set()
    assert await listed(client, volume=["/dat", "odd"]) == set()
    assert await listed(client, volume=[]) == set()


async def test_networks_are_found_by_name_and_beginning_of_id(client: Client, make: Make) -> None:
    status, network = await client.ask("POST", "/networks/create", {"Name": "full-net"})
    assert status == 201
    on = await make("sleep", "60", start=True, host={"NetworkMode": "full-net"})
    off = await make("sleep", "60", start=True)
    assert await listed(client, network=["full-net"]) == {on}
    assert await listed(client, network=[network["Id"]]) == {on}
    assert await listed(client, network=[network["Id"][:12]]) == {on}
    assert await listed(client, network=["full"]) == set()
    assert await listed(client, network=["bridge", "full-net"]) == {on, off}
    assert await listed(client, network=[]) == set()
    await client.ask("DELETE", f"/containers/{on}?force=1")
    assert (await client.ask("DELETE", "/networks/full-net"))[0] == 204


async def test_ids_are_found_by_a_beginning_that_one_alone_has(client: Client, make: Make) -> None:
    names = [await make() for _ in range(17)]  # two of them begin with the same digit
    ids = [await ident(client, name) for name in names]
    first = [ids[0][:n] for n in (12, 64)]
    assert await listed(client, id=first) == {names[0]}
    shared = next(text[0] for text in ids if sum(other[0] == text[0] for other in ids) > 1)
    assert await listed(client, id=[shared]) == set()
    assert await listed(client, id=[""]) == set()
    assert await listed(client, id=[ids[0], ids[1]], name=[names[1]]) == {names[1]}


async def test_before_and_since_name_one_container_exactly(client: Client, make: Make) -> None:
    old, middle, new = [await make() for _ in range(3)]
    for ref in (middle, f"/{middle}", await ident(client, middle)):
        assert await listed(client, before=[ref]) == {old}
        assert await listed(client, since=[ref]) == {new}
    assert await listed(client, "", since=[old]) == set()  # nothing runs
    assert await listed(client, before=[new], since=[old]) == {middle}
    for key in ("before", "since"):
        for ref in ("odd", (await ident(client, middle))[:12]):
            assert await ask(client, {key: [ref]}) == (404, {"message": f"No such container: {ref}"})


async def test_an_ancestor_is_an_image_or_what_that_was_made_of(client: Client, make: Make) -> None:
    base = await make()
    status, made = await client.ask("POST", f"/commit?container={base}&repo=full-made", {})
    assert status == 201, made
    _, answer = await client.ask("POST", "/containers/create?name=full-child", {"Image": "full-made"})
    try:
        assert await listed(client, ancestor=["full-made"]) == {"full-child"}
        assert await listed(client, ancestor=[made["Id"]]) == {"full-child"}
        assert await listed(client, ancestor=[IMAGE, "odd"]) == {base, "full-child"}
        assert await listed(client, ancestor=["odd"]) == set()
        assert await listed(client, ancestor=[]) == set()
    finally:
        await client.ask("DELETE", f"/containers/{answer['Id']}")
        await client.ask("DELETE", "/images/full-made")


def test_descendants_are_found_however_deep_and_though_images_go_round() -> None:
    def image(ident: str, parent: str) -> Image:
        return Image(ident, ImageConfig("linux", "amd64", ""), (), "", (), (), 0, 0, 0, parent)

    images = [image("c", "b"), image("b", "a"), image("a", "c"), image("x", ""), image("y", "x")]
    assert descendants(images, {"b"}) == {"a", "b", "c"}
    assert descendants(images, {"x"}) == {"x", "y"}
    assert descendants(images, set()) == set()


async def test_exit_codes_are_numbers_of_what_has_run(client: Client, make: Make) -> None:
    ended = await make("sh", "-c", "exit 3", start=True)
    created, running = await make(), await make("sleep", "60", start=True)
    await client.ask("POST", f"/containers/{ended}/wait")
    for code in ("3", "03", "+3"):
        assert await listed(client, exited=[code]) == {ended}
    assert await listed(client, exited=["0"]) == set()
    assert await listed(client, "", exited=["3"]) == set()  # it does not run
    assert {ended, created, running} <= await listed(client, exited=[])


async def test_a_key_without_values_filters_nothing(client: Client, make: Make) -> None:
    running, created = await make("sleep", "60", start=True), await make()
    for key in ("name", "id", "label", "status", "health", "expose", "isolation"):
        for values in ([], None):
            assert await listed(client, "", **{key: values}) == {running}, key
    assert await listed(client, **{"is-task": ["false"]}) == {running, created}
    assert await listed(client, **{"is-task": ["1"]}) == set()
    assert await listed(client, isolation=["anything"]) == {running, created}
    assert (await ask(client, "null", ""))[1][0]["Names"] == [f"/{running}"]


_STATES = "created, running, paused, restarting, removing, exited, dead"
_HEALTH = "none, starting, healthy, unhealthy"
_WRONG: list[tuple[Any, str]] = [
    ({"status": ["odd"]}, f"invalid filter 'status=odd': invalid value for state (odd): must be one of {_STATES}"),
    ({"health": ["odd"]}, f"invalid filter 'health=odd': invalid value for health (odd): must be one of {_HEALTH}"),
    ({"exited": ["x"]}, "invalid filter 'exited=x': parsing \"x\": invalid syntax"),
    ({"exited": ["+-1"]}, "invalid filter 'exited=+-1': parsing \"+-1\": invalid syntax"),
    ({"is-task": ["odd"]}, "invalid filter 'is-task=[odd]'"),
    ({"is-task": []}, "invalid filter 'is-task'"),
    ({"publish": ["80:80"]}, "filter for 'publish' should not contain ':': 80:80"),
    ({"publish": ["odd"]}, 'error while looking up for publish odd: parsing "odd": invalid syntax'),
    ({"expose": ["/tcp"]}, "error while looking up for expose /tcp: empty string specified for ports"),
    ({"expose": ["9-1"]}, "error while looking up for expose 9-1: invalid range specified for port: 9-1"),
    ({"expose": ["1-65536"]}, 'error while looking up for expose 1-65536: parsing "65536": value out of range'),
    ({"odd": ["x"]}, "invalid filter 'odd'"),
    ({"status": "exited"}, "invalid filter"),
    ("[]", "invalid filter"),
]


@pytest.mark.parametrize(("filters", "words"), _WRONG, ids=[str(filters) for filters, _ in _WRONG])
async def test_a_wrong_value_is_told_though_there_is_nothing_to_list(client: Client, filters: Any, words: str) -> None:
    assert await ask(client, filters) == (400, {"message": words})


async def test_ranges_of_ports_cost_nothing(client: Client, make: Make) -> None:
    await make("sleep", "60", start=True)
    many = [f"0-65535/p{number}" for number in range(1000)]
    assert await listed(client, publish=many, expose=many) == set()
