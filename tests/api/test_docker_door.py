# SPDX-License-Identifier: Apache-2.0
"""The Engine API over its socket: containers, images, events, refusals."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import tarfile
import time
from typing import Any
from urllib.parse import quote

import pytest

from hypercell.api.docker import unbuilt
from tests.support.daemon import Daemon

from .conftest import Client, connect
from .door import IMAGE, Make, names


async def test_ping_tells_what_clients_negotiate_with(client: Client) -> None:
    await client.send(b"HEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
    status, headers = await client.head()
    assert status == 200
    assert (headers["api-version"], headers["ostype"], headers["docker-experimental"]) == ("1.51", "linux", "false")
    assert headers["builder-version"] == "1"
    assert await client.ask("GET", "/v1.24/_ping") == (200, b"OK")


async def test_versions_outside_the_range_are_refused_in_dockers_words(client: Client) -> None:
    status, text = await client.ask("GET", "/v1.23/info")
    assert (status, text[:33]) == (400, b"client version 1.23 is too old. M")
    status, answer = await client.ask("GET", "/v1.52/info")
    assert (status, answer) == (
        400,
        {"message": "client version 1.52 is too new. Maximum supported API version is 1.51"},
    )
    assert (await client.ask("GET", "/v2/info"))[0] == 400


@pytest.mark.parametrize("path", ["/nonsense", "/v1.41/nonsense", "/containers", "/v1.41"])
async def test_unknown_routes_are_answered_as_dockerd_does(client: Client, path: str) -> None:
    assert await client.ask("GET", path) == (404, {"message": "page not found"})


@pytest.mark.parametrize("route", unbuilt.ROUTES, ids=lambda route: f"{route.method} {route.pattern}")
async def test_what_is_not_built_says_so(client: Client, route: Any) -> None:
    path = route.pattern.replace("{name}", "x").replace("{checkpoint}", "y")
    status, answer = await client.ask(route.method, path)
    assert status == 501
    assert "not built yet" in answer["message"]


async def test_a_body_of_a_gigabyte_is_refused_and_the_daemon_serves_on(client: Client, door: Daemon) -> None:
    for path in ("/containers/create", "/containers/x/update", "/exec/x/start", "/containers/x/stop"):
        other = await connect(door.socket)
        await other.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n".encode())
        assert (await other.answer())[0] == 413
        await other.close()
    assert await client.ask("GET", "/_ping") == (200, b"OK")


async def test_a_web_page_is_refused(client: Client) -> None:
    status, answer = await client.ask("POST", "/containers/create", {}, {"Origin": "http://evil.example"})
    assert status == 403
    assert "Origin" in answer["message"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"])
async def test_what_is_not_called_json_is_not_read_as_json(client: Client, kind: str) -> None:
    for path in ("/containers/create", "/containers/x/exec", "/containers/x/update"):
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 2\r\n\r\n"
        await client.send(head.encode() + b"{}")
        status, _, body = await client.answer()
        assert (status, b"must be 'application/json'" in body) == (400, True)


async def test_info_and_version_have_what_clients_read(client: Client) -> None:
    _, info = await client.ask("GET", "/info")
    assert {"Containers", "Images", "NCPU", "MemTotal", "ServerVersion", "OSType", "Swarm", "Runtimes"} <= info.keys()
    assert info["Hypercell"]["Hypervisor"] == "fake"
    _, version = await client.ask("GET", "/version")
    assert (version["ApiVersion"], version["MinAPIVersion"], version["Os"]) == ("1.51", "1.24", "linux")


async def test_the_doctor_names_every_check(client: Client) -> None:
    status, answer = await client.ask("GET", "/hypercell/doctor")
    assert status == 200
    checks = {check["name"]: check for check in answer["checks"]}
    assert {"root", "hypervisor", "accelerator", "guest kernel", "nftables", "disk", "socket"} <= checks.keys()
    assert checks["bridge"]["status"] == checks["socket"]["status"] == "ok"
    assert all(check["status"] in ("ok", "warn", "fail") and check["detail"] for check in checks.values())


# Names and states


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/containers/nope/json"),
        ("GET", "/containers/nope/logs?stdout=1"),
        ("GET", "/containers/nope/top"),
        ("GET", "/containers/nope/stats"),
        ("GET", "/containers/nope/archive?path=/"),
        ("POST", "/containers/nope/start"),
        ("POST", "/containers/nope/stop"),
        ("POST", "/containers/nope/kill"),
        ("POST", "/containers/nope/restart"),
        ("POST", "/containers/nope/pause"),
        ("POST", "/containers/nope/wait"),
        ("POST", "/containers/nope/attach?stream=1&stdout=1"),
        ("POST", "/containers/nope/rename?name=other"),
        ("POST", "/containers/nope/resize?h=1&w=1"),
        ("DELETE", "/containers/nope"),
    ],
)
async def test_no_such_container(client: Client, method: str, path: str) -> None:
    status, answer = await client.ask(method, path)
    assert status == 404
    assert "No such container: nope" in answer["message"]


async def test_a_name_can_be_taken_once(client: Client, make: Make) -> None:
    name = await make()
    status, answer = await client.ask("POST", f"/containers/create?name={name}", {"Image": IMAGE})
    assert status == 409
    _, view = await client.ask("GET", f"/containers/{name}/json")
    assert answer["message"].startswith(
        f'Conflict. The container name "/{name}" is already in use by container "{view["Id"]}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )


async def test_of_a_hundred_creates_of_one_name_one_succeeds(door: Daemon, client: Client) -> None:
    async def one() -> int:
        connection = await connect(door.socket)
        status, _ = await connection.ask("POST", "/containers/create?name=race", {"Image": IMAGE})
        await connection.close()
        return status

    statuses = await asyncio.gather(*(one() for _ in range(100)))
    assert sorted(statuses) == [201] + [409] * 99
    assert (await client.ask("DELETE", "/containers/race"))[0] == 204


async def test_an_image_that_is_not_here_makes_clients_pull(client: Client) -> None:
    status, answer = await client.ask("POST", "/containers/create", {"Image": "nope:1"})
    assert status == 404
    assert "No such image: nope:1" in answer["message"]


async def test_what_is_so_already_is_not_modified(client: Client, make: Make) -> None:
    name = await make("sleep", "60", start=True)
    assert (await client.ask("POST", f"/containers/{name}/start"))[0] == 304
    assert (await client.ask("POST", f"/containers/{name}/stop?t=0"))[0] == 204
    assert (await client.ask("POST", f"/containers/{name}/stop"))[0] == 304


async def test_a_prefix_of_an_id_is_enough_if_it_is_unique(client: Client, make: Make) -> None:
    _, view = await client.ask("GET", f"/containers/{await make()}/json")
    assert (await client.ask("GET", f"/containers/{view['Id'][:12]}/json"))[1]["Name"] == view["Name"]


async def test_kill_of_a_container_that_does_not_run_is_a_conflict(client: Client, make: Make) -> None:
    name = await make()
    status, answer = await client.ask("POST", f"/containers/{name}/kill")
    assert status == 409
    assert answer["message"].startswith(f"cannot kill container: {name}: container ")
    assert "is not running" in answer["message"]


async def test_a_running_container_is_not_removed_without_force(client: Client, make: Make) -> None:
    name = await make("sleep", "60", start=True)
    status, answer = await client.ask("DELETE", f"/containers/{name}")
    assert status == 409
    assert "container is running" in answer["message"]


async def test_a_program_that_is_not_there_fails_the_start(client: Client, make: Make) -> None:
    name = await make("nosuchprogram")
    status, answer = await client.ask("POST", f"/containers/{name}/start")
    assert status == 400
    assert "executable file not found" in answer["message"]
    assert (await client.ask("GET", f"/containers/{name}/json"))[1]["State"]["ExitCode"] == 127


async def test_hostile_values_come_back_as_they_were(client: Client, make: Make) -> None:
    labels = {"quote": '"}],{', "line": "a\nb", "html": "<script>", "unicode": "\u2028é😀"}
    name = await make("echo", "x y", '"', "\n", Labels=labels, Env=["A=b\nc", 'J={"x":1}'])
    _, view = await client.ask("GET", f"/containers/{name}/json")
    assert view["Config"]["Labels"] == labels
    assert view["Args"] == ["x y", '"', "\n"]
    assert set(view["Config"]["Env"]) >= {"A=b\nc", 'J={"x":1}'}


# Inspection and lists


async def test_an_inspection_has_what_clients_read(client: Client, make: Make) -> None:
    host = {
        "PortBindings": {"80/tcp": [{"HostPort": ""}]},
        "Memory": 64 << 20,
        "RestartPolicy": {"Name": "always"},
        "Annotations": {"io.hypercell.size": "s2"},
        "SecurityOpt": ["no-new-privileges"],
    }
    name = await make("sleep", "60", start=True, host=host, Tty=True, AttachStdout=True, StopSignal="SIGINT")
    _, view = await client.ask("GET", f"/containers/{name}/json?size=1")
    assert view["State"] | {"Pid": 0, "StartedAt": ""} == {
        "Status": "running",
        "Running": True,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": False,
        "Dead": False,
        "Pid": 0,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": "",
        "FinishedAt": "0001-01-01T00:00:00Z",
    }
    assert (view["Path"], view["Args"], view["Mounts"], view["Name"]) == ("sleep", ["60"], [], f"/{name}")
    assert view["Config"]["AttachStdout"] is True
    assert (view["Config"]["StopSignal"], view["Config"]["Tty"]) == ("SIGINT", True)
    assert view["HostConfig"]["Memory"] == 64 << 20
    assert view["HostConfig"]["RestartPolicy"] == {"Name": "always", "MaximumRetryCount": 0}
    assert view["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    network = view["NetworkSettings"]
    assert network["IPAddress"] == network["Networks"]["bridge"]["IPAddress"] != ""
    binding = network["Ports"]["80/tcp"][0]
    assert binding["HostIp"] == "0.0.0.0"
    assert int(binding["HostPort"]) > 1024
    assert isinstance(view["SizeRw"], int)
    assert {"kernel", "accelerator", "vcpus", "memory", "Trace"} <= view["Hypercell"].keys()
    await client.ask("POST", f"/containers/{name}/stop?t=0")
    _, stopped = await client.ask("GET", f"/containers/{name}/json")
    assert (stopped["NetworkSettings"]["IPAddress"], stopped["NetworkSettings"]["Ports"]) == ("", {})


async def listed(client: Client, query: str = "all=1", **filters: list[str]) -> set[str]:
    status, answer = await client.ask("GET", f"/containers/json?{query}&filters={quote(json.dumps(filters))}")
    assert status == 200, answer
    answer = [answer] if isinstance(answer, dict) else answer
    return {item["Names"][0].removeprefix("/") for item in answer}


async def test_lists_are_filtered(client: Client, make: Make) -> None:
    running_one = await make("sleep", "60", start=True, Labels={"role": "web", "x": ""})
    ended = await make("sh", "-c", "exit 3", start=True, host={"NetworkMode": "none"})
    created = await make(Labels={"role": "db"}, ExposedPorts={"99/tcp": {}})
    for _ in range(100):
        if (await client.ask("GET", f"/containers/{ended}/json"))[1]["State"]["Status"] == "exited":
            break
        await asyncio.sleep(0.02)
    everything = {running_one, ended, created}
    assert await listed(client, "") == {running_one}
    assert await listed(client) == everything
    assert await listed(client, status=["exited"]) == {ended}
    assert await listed(client, status=["created", "running"]) == {running_one, created}
    assert await listed(client, exited=["3"]) == {ended}
    assert await listed(client, label=["role"]) == {running_one, created}
    assert await listed(client, label=["role=web", "x"]) == {running_one}
    assert await listed(client, name=[f"^{ended}$"]) == {ended}
    assert await listed(client, network=["none"]) == {ended}
    assert await listed(client, ancestor=[IMAGE]) == everything
    assert await listed(client, ancestor=["other"]) == set()
    assert await listed(client, before=[ended]) == {running_one}
    assert await listed(client, since=[ended]) == {created}
    assert await listed(client, "limit=1") == {created}
    for wrong in ('{"status":["odd"]}', '{"odd":["x"]}', '{"exited":["x"]}', '{"name":["("]}', "{"):
        assert (await client.ask("GET", f"/containers/json?filters={wrong}".replace(" ", "")))[0] == 400


async def test_a_listed_container_has_what_ps_shows(client: Client, make: Make) -> None:
    name = await make("sleep", "6 0", start=True, host={"PortBindings": {"80/tcp": [{}]}}, ExposedPorts={"81/udp": {}})
    _, found = await client.ask("GET", f"/containers/json?filters={quote(json.dumps({'name': [name]}))}")
    item = found[0]
    assert (item["Image"], item["Command"], item["State"]) == (IMAGE, "sleep '6 0'", "running")
    assert item["Status"].startswith("Up ")
    assert {"PrivatePort": 81, "Type": "udp"} in item["Ports"]
    assert any(port.get("PublicPort") and port["PrivatePort"] == 80 for port in item["Ports"])


async def test_a_list_shows_whatever_has_changed_since_the_last(client: Client, make: Make) -> None:
    hostile = 'quo"te\\,"Status":"x'
    name = await make("sleep", "60", Labels={"l": hostile}, host={"Annotations": {"a": hostile}})
    other = await make("sleep", "60", start=True)
    seen = []

    async def listed(path: str = "/containers/json?all=1") -> dict[str, Any]:
        _, found = await client.ask("GET", path)
        by_name = {item["Names"][0]: item for item in found}
        assert by_name[f"/{other}"]["State"] == "running"
        (item,) = [item for key, item in by_name.items() if key != f"/{other}"]
        seen.append((item["Names"][0], item["State"], item["Status"].split(" ")[0]))
        assert item["Labels"] == {"l": hostile}
        return dict(item)

    await listed()
    await client.ask("POST", f"/containers/{name}/start")
    await listed()
    await client.ask("POST", f"/containers/{name}/pause")
    assert (await listed())["Status"].endswith("(Paused)")
    await client.ask("POST", f"/containers/{name}/unpause")
    await client.ask("POST", f"/containers/{name}/rename?name=renamed-{name}")
    await listed()
    await client.ask("POST", f"/containers/renamed-{name}/kill")
    await client.ask("POST", f"/containers/renamed-{name}/wait")
    await listed()
    await client.ask("POST", f"/containers/renamed-{name}/start")
    await listed()
    old, new = f"/{name}", f"/renamed-{name}"
    assert seen == [
        (old, "created", "Created"),
        (old, "running", "Up"),
        (old, "paused", "Up"),
        (new, "running", "Up"),
        (new, "exited", "Exited"),
        (new, "running", "Up"),
    ]
    for _ in range(2):
        assert (await listed("/containers/json?all=1&size=1"))["SizeRootFs"] > 0
        assert "SizeRootFs" not in await listed()
        assert (await listed())["HostConfig"]["Annotations"] == {"a": hostile}


# Waiting


async def test_wait_answers_its_head_before_the_end(door: Daemon, client: Client, make: Make) -> None:
    name = await make("cat", OpenStdin=True, StdinOnce=True)
    waiter = await connect(door.socket)
    path = f"/v1.51/containers/{name}/wait?condition=next-exit"
    await waiter.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    assert (await waiter.head())[0] == 200
    await client.ask("POST", f"/containers/{name}/start")
    await client.ask("POST", f"/containers/{name}/kill?signal=KILL")
    assert b'{"StatusCode":137}' in await waiter.reader.readuntil(b"0\r\n\r\n")
    await waiter.close()


async def test_wait_for_removal(door: Daemon, client: Client, make: Make) -> None:
    name = await make("sh", "-c", "exit 5", host={"AutoRemove": True})
    waiter = await connect(door.socket)
    waiting = asyncio.create_task(waiter.ask("POST", f"/containers/{name}/wait?condition=removed"))
    await asyncio.sleep(0.1)
    await client.ask("POST", f"/containers/{name}/start")
    assert await asyncio.wait_for(waiting, 10) == (200, {"StatusCode": 5})
    assert (await client.ask("GET", f"/containers/{name}/json"))[0] == 404
    await waiter.close()


async def test_an_unknown_condition_is_refused(client: Client, make: Make) -> None:
    status, answer = await client.ask("POST", f"/containers/{await make()}/wait?condition=bored")
    assert (status, answer) == (400, {"message": 'invalid condition: "bored"'})


# Streams


def small_tar(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


async def test_files_go_in_and_come_out(client: Client, make: Make) -> None:
    name = await make("sleep", "60", start=True)
    status, _ = await client.ask("PUT", f"/containers/{name}/archive?path=/tmp", small_tar("x", b"content"))
    assert status == 200
    await client.send(f"HEAD /containers/{name}/archive?path=/tmp/x HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    _, headers = await client.head()
    found = json.loads(base64.b64decode(headers["x-docker-container-path-stat"]))
    assert (found["name"], found["size"], found["mode"] & 0o777) == ("x", 7, 0o644)
    status, data = await client.ask("GET", f"/containers/{name}/archive?path=/tmp/x")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        member = archive.extractfile("x")
        assert member is not None
        assert member.read() == b"content"
    assert (await client.ask("GET", f"/containers/{name}/archive?path=/nope"))[0] == 404
    assert (await client.ask("GET", f"/containers/{name}/archive"))[0] == 400


async def test_changes_are_told_as_dockerd_tells_them(client: Client, make: Make) -> None:
    name = await make("sleep", "60", start=True)
    assert await client.ask("GET", f"/containers/{name}/changes") == (200, None)
    for path, data in (("in\udcff\udce2\udc82valid", b""), ("new\nline", b""), ("ümläut", b"")):
        await client.ask("PUT", f"/containers/{name}/archive?path=/root", small_tar(path, data))
    status, found = await client.ask("GET", f"/containers/{name}/changes")
    assert status == 200
    assert found == [
        {"Path": "/root/in\ufffd\ufffd\ufffdvalid", "Kind": 1},
        {"Path": "/root/new\nline", "Kind": 1},
        {"Path": "/root/ümläut", "Kind": 1},
    ]
    assert (await client.ask("GET", "/containers/nope/changes"))[0] == 404


async def test_an_export_is_a_tar_of_the_root(client: Client, make: Make) -> None:
    name = await make("sleep", "60", start=True)
    status, data = await client.ask("GET", f"/containers/{name}/export")
    assert status == 200
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert {"root", "tmp", "etc"} <= set(archive.getnames())
    assert (await client.ask("GET", "/containers/nope/export"))[0] == 404


# Changes


async def test_rename_update_and_prune(client: Client, make: Make) -> None:
    name = await make(Labels={"prune": "me"})
    other = next(names)
    assert (await client.ask("POST", f"/containers/{name}/rename?name={other}"))[0] == 204
    assert (await client.ask("POST", f"/containers/{other}/rename?name="))[0] == 400
    assert (await client.ask("POST", f"/containers/{other}/rename?name=..%2Fx"))[0] == 400
    body = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}
    assert await client.ask("POST", f"/containers/{other}/update", body) == (200, {"Warnings": []})
    _, view = await client.ask("GET", f"/containers/{other}/json")
    assert view["HostConfig"]["RestartPolicy"] == body["RestartPolicy"]
    assert (await client.ask("POST", f"/containers/{other}/update", {"Links": ["a"]}))[0] == 501
    assert (await client.ask("POST", f"/containers/{other}/update", {"CpusetCpus": "1024"}))[0] == 400
    assert (await client.ask("POST", f"/containers/{other}/update", {"CpusetCpus": "0"}))[0] == 200
    assert (await client.ask("GET", f"/containers/{other}/json"))[1]["HostConfig"]["CpusetCpus"] == "0"
    _, pruned = await client.ask("POST", '/containers/prune?filters={"label":["prune=me"]}')
    assert pruned["ContainersDeleted"] == [view["Id"]]
    _, pruned = await client.ask("POST", '/containers/prune?filters={"label":["prune=me"]}')
    assert pruned["ContainersDeleted"] is None
    assert (await client.ask("POST", '/containers/prune?filters={"name":["x"]}'))[0] == 400


async def test_events_tell_what_happened(door: Daemon, client: Client, make: Make) -> None:
    since = time.time() - 1
    name = await make("sh", "-c", "exit 9", start=True, Labels={"team": "a"})
    await client.ask("POST", f"/containers/{name}/wait")
    path = f"/events?since={since}&until={time.time() + 0.5}"
    _, events = await client.ask("GET", f'{path}&filters={{"container":["{name}"]}}')
    assert [event["Action"] for event in events] == ["create", "start", "die"]
    last = events[-1]
    assert last["Actor"]["Attributes"]["exitCode"] == "9"
    assert last["Actor"]["Attributes"]["name"] == name
    assert (last["Type"], last["status"], last["from"], last["scope"]) == ("container", "die", IMAGE, "local")
    assert last["timeNano"] // 1_000_000_000 == last["time"]
    _, events = await client.ask("GET", f'{path}&filters={{"container":["{name}"],"event":["die"]}}')
    assert events["Action"] == "die"
    assert (await client.ask("GET", f'{path}&filters={{"label":["team=b"]}}'))[1] == []
    assert (await client.ask("GET", "/events?since=10&until=5"))[0] == 400


async def test_events_are_told_as_they_happen(door: Daemon, client: Client, make: Make) -> None:
    watcher = await connect(door.socket)
    await watcher.send(b'GET /events?filters={"event":["create"]} HTTP/1.1\r\nHost: x\r\n\r\n')
    await watcher.head()
    name = await make()
    told = await asyncio.wait_for(watcher.reader.readuntil(b"}\n"), 5)
    assert f'"name":"{name}"'.encode() in told
    await watcher.close()


# Images


async def test_images_are_shown_tagged_and_removed(client: Client, make: Make) -> None:
    status, _ = await client.ask("POST", f"/images/{IMAGE}/tag?repo=localhost:5000/other&tag=1")
    assert status == 201
    _, image = await client.ask("GET", "/images/localhost:5000/other:1/json")
    assert set(image["RepoTags"]) == {IMAGE, "localhost:5000/other:1"}
    assert image["Config"]["Cmd"] == ["cat"]
    _, image_list = await client.ask("GET", '/images/json?filters={"reference":["localhost:5000/*"]}')
    assert image_list[0]["Id"] == image["Id"]
    assert (await client.ask("GET", '/images/json?filters={"dangling":["true"]}'))[1] == []
    _, history = await client.ask("GET", f"/images/{IMAGE}/history")
    assert history[0]["Id"] == image["Id"]
    assert await client.ask("DELETE", "/images/localhost:5000/other:1") == (
        200,
        [{"Untagged": "localhost:5000/other:1"}],
    )
    await make()
    assert (await client.ask("DELETE", f"/images/{IMAGE}"))[0] == 409
    assert (await client.ask("GET", "/images/nope/json"))[0] == 404
    assert "No such image" in (await client.ask("GET", "/images/nope/json"))[1]["message"]


async def test_what_is_saved_can_be_loaded(client: Client) -> None:
    status, archive = await client.ask("GET", f"/images/{IMAGE}/get")
    assert status == 200
    status, line = await client.ask("POST", "/images/load?quiet=1", archive, {"X-Kind": "tar"})
    assert (status, line) == (200, {"stream": f"Loaded image: {IMAGE}\n"})
    assert (await client.ask("GET", "/images/nope/get"))[0] == 404
    assert (await client.ask("GET", "/images/get"))[0] == 400


async def test_an_archive_that_is_none_is_an_error_in_the_stream(client: Client) -> None:
    status, line = await client.ask("POST", "/images/load", b"no tar at all" * 100)
    assert status == 200
    assert line["error"] == line["errorDetail"]["message"] != ""


async def test_a_pull_that_cannot_begin_is_an_error_of_its_own(client: Client) -> None:
    for query in (
        "fromImage=UPPER",
        "fromImage=a%20b&tag=x",
        "fromImage=x&tag=1&platform=a/b/c/d",
        "",
        "fromSrc=ftp://x",
    ):
        assert (await client.ask("POST", f"/images/create?{query}"))[0] == 400
    headers = {"X-Registry-Auth": "!!!"}
    assert (await client.ask("POST", "/images/create?fromImage=a&tag=1", headers=headers))[0] == 400


# Networks, space


async def test_the_built_in_networks_are_shown(client: Client, make: Make) -> None:
    name = await make("sleep", "60", start=True)
    _, networks = await client.ask("GET", "/networks")
    assert {network["Name"]: network["Driver"] for network in networks} == {"bridge": "bridge", "none": "null"}
    _, bridge = await client.ask("GET", "/networks/bridge")
    assert bridge["IPAM"]["Config"][0]["Subnet"]
    assert name in {member["Name"] for member in bridge["Containers"].values()}
    assert (await client.ask("GET", f"/networks/{bridge['Id'][:12]}"))[1]["Name"] == "bridge"
    assert await client.ask("GET", "/networks/mine") == (404, {"message": "network mine not found"})
    assert (await client.ask("POST", "/networks/prune"))[1] == {"NetworksDeleted": None}


async def test_disk_usage_counts(client: Client, make: Make) -> None:
    await make()
    _, usage = await client.ask("GET", "/system/df")
    assert usage["LayersSize"] > 0
    assert usage["Images"][0]["Containers"] >= 1
    assert usage["Containers"][0]["SizeRootFs"] >= 0
    _, only = await client.ask("GET", "/system/df?type=volume")
    assert (only["Images"], only["Volumes"]) == (None, [])
    assert (await client.ask("GET", "/system/df?type=odd"))[0] == 400
