# SPDX-License-Identifier: Apache-2.0
"""Answers of dockerd's that are easily forgotten: redirected paths, swarms, the end before, sizes that are shared,
processors by number."""

from __future__ import annotations

import pytest

from .conftest import Client
from .door import IMAGE, Make, root_tar


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/v1.51/containers//json?all=1&x=%2F", "/v1.51/containers/json?all=1&x=%2F"),
        ("//_ping", "/_ping"),
        ("//evil.example/..", "/"),
        ("/containers/./x/../json", "/containers/json"),
        ("/containers//a%0d%0ab%20c/json", "/containers/a%0D%0Ab%20c/json"),
        ("/networks//", "/networks/"),
    ],
)
async def test_a_path_that_says_more_than_it_must_is_redirected(client: Client, path: str, where: str) -> None:
    await client.send(f"GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n".encode())
    status, headers, _ = await client.answer()
    assert (status, headers["location"]) == (301, where)


async def test_names_with_dots_are_not_redirected(client: Client) -> None:
    assert (await client.ask("GET", "/containers/.x/json"))[0] == 404
    assert (await client.ask("GET", "/containers/..x../json"))[0] == 404


async def test_the_end_of_the_life_before_is_told_until_this_one_ends(client: Client, make: Make) -> None:
    name = await make("cat", start=True, OpenStdin=True)
    await client.ask("POST", f"/containers/{name}/stop?t=0")
    ended = (await client.ask("GET", f"/containers/{name}/json"))[1]["State"]["FinishedAt"]
    await client.ask("POST", f"/containers/{name}/start")
    again = (await client.ask("GET", f"/containers/{name}/json"))[1]["State"]
    assert (again["Status"], again["FinishedAt"]) == ("running", ended)
    assert again["StartedAt"] > ended
    await client.ask("POST", f"/containers/{name}/stop?t=0")
    assert (await client.ask("GET", f"/containers/{name}/json"))[1]["State"]["FinishedAt"] > again["StartedAt"]


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/services", 503, "This node is not a swarm manager."),
        ("GET", "/services/x/logs", 503, "This node is not a swarm manager."),
        ("POST", "/secrets/create", 503, "This node is not a swarm manager."),
        ("POST", "/swarm/leave", 503, "This node is not part of a swarm"),
        ("PUT", "/volumes/x?version=1", 503, "volume update only valid for cluster volumes, but swarm is unavailable"),
        ("POST", "/swarm/init", 501, "a swarm: not built yet"),
    ],
)
async def test_of_swarms_is_told_that_there_is_none(
    client: Client, method: str, path: str, status: int, words: str
) -> None:
    answered, answer = await client.ask(method, path, {} if method == "POST" else None)
    assert (answered, answer["message"].startswith(words)) == (status, True)


async def test_a_start_from_a_checkpoint_is_experimental(client: Client, make: Make) -> None:
    for name in (await make("cat"), "nope"):  # dockerd looks for no container before
        status, answer = await client.ask("POST", f"/containers/{name}/start?checkpoint=c&checkpoint-dir=/tmp")
        assert (status, answer) == (400, {"message": "checkpoint is only supported in experimental mode"})
    assert (await client.ask("POST", f"/containers/{await make('cat')}/start?checkpoint="))[0] == 204


async def test_no_name_of_a_container_is_a_link_that_could_be_removed(client: Client, make: Make) -> None:
    name = await make("cat")
    ident = (await client.ask("GET", f"/containers/{name}/json"))[1]["Id"]
    for ref in (name, ident, ident[:12]):
        status, answer = await client.ask("DELETE", f"/containers/{ref}?link=1&force=1&v=1")
        assert (status, answer["message"]) == (
            409,
            "Conflict, cannot remove the default link name of the container",
        )
    status, answer = await client.ask("DELETE", f"/containers/{name}/alias?link=1")
    assert (status, answer["message"]) == (404, f"No such container: {name}/alias")
    assert (await client.ask("GET", f"/containers/{name}/json"))[0] == 200
    assert (await client.ask("DELETE", f"/containers/{name}?link=0"))[0] == 204


async def test_images_of_the_same_layers_share_all_that_they_take(client: Client) -> None:
    content = root_tar()
    path = "/images/create?fromSrc=-&repo=twin&tag={}&changes=ENV%20A%3D{}"
    for number in (1, 2):
        assert (await client.ask("POST", path.format(number, number), content, {"X-Kind": "tar"}))[0] == 200
    sizes = {
        tag: image for image in (await client.ask("GET", "/images/json?shared-size=1"))[1] for tag in image["RepoTags"]
    }
    assert sizes["twin:1"]["SharedSize"] == sizes["twin:1"]["Size"] > 0
    assert {image["SharedSize"] for image in (await client.ask("GET", "/images/json"))[1]} == {-1}
    used = {image["Id"]: image["SharedSize"] for image in (await client.ask("GET", "/system/df"))[1]["Images"]}
    assert used[sizes["twin:2"]["Id"]] == sizes["twin:2"]["Size"]
    for number in (1, 2):
        await client.ask("DELETE", f"/images/twin:{number}")


async def test_processors_may_be_chosen_of_those_that_the_vm_has(client: Client, make: Make) -> None:
    name = await make("cat", start=True, host={"NanoCpus": 2 * 10**9, "CpusetCpus": "0-1", "CpusetMems": "0"})
    _, view = await client.ask("GET", f"/containers/{name}/json")
    assert (view["HostConfig"]["CpusetCpus"], view["HostConfig"]["CpusetMems"]) == ("0-1", "0")
    body = {"Image": IMAGE, "HostConfig": {"NanoCpus": 2 * 10**9, "CpusetCpus": "2"}}
    status, answer = await client.ask("POST", "/containers/create", body)
    assert status == 400
    assert answer["message"].startswith("Requested CPUs are not available - requested 2, available: 0-1")
