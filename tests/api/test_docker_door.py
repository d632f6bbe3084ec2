# SPDX-License-Identifier: Apache-2.0
"""The Engine API over its socket, spoken raw to a daemon whose guests are fake."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
import struct
import tarfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from hypercell.api.docker import unbuilt
from tests.support.daemon import Daemon, running

from .conftest import Client, connect

IMAGE = "fake:test"
_names = (f"c{number}" for number in itertools.count())
Make = Callable[..., Awaitable[str]]


def root_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("etc/marker")
        member.size = 2
        archive.addfile(member, io.BytesIO(b"hi"))
    return out.getvalue()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("door") / "d", driver="fake") as daemon:
        yield daemon


@pytest.fixture
async def client(door: Daemon) -> AsyncIterator[Client]:
    connection = await connect(door.socket)
    status, images = await connection.ask("GET", "/images/json")
    if not images:
        status, answer = await connection.ask(
            "POST",
            "/images/create?fromSrc=-&repo=fake&tag=test&changes=CMD%20%5B%22cat%22%5D",
            root_tar(),
            {"X-Kind": "tar"},
        )
        assert status == 200, answer
    yield connection
    await connection.close()


@pytest.fixture
async def make(client: Client) -> AsyncIterator[Make]:
    """Make a container that is removed after the test; its name."""
    made: list[str] = []

    async def create(*command: str, start: bool = False, host: dict[str, Any] | None = None, **config: Any) -> str:
        name = next(_names)
        body = {"Image": IMAGE, "HostConfig": host or {}, **({"Cmd": list(command)} if command else {}), **config}
        status, answer = await client.ask("POST", f"/containers/create?name={name}", body)
        assert status == 201, answer
        made.append(answer["Id"])
        if start:
            status, answer = await client.ask("POST", f"/containers/{name}/start")
            assert status == 204, answer
        return name

    yield create
    for container in made:
        await client.ask("DELETE", f"/containers/{container}?force=1")


def frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        stream, size = struct.unpack(">BxxxI", data[:8])
        found.append((stream, data[8 : 8 + size]))
        data = data[8 + size :]
    return found


def joined(data: bytes, stream: int) -> bytes:
    return b"".join(piece for kind, piece in frames(data) if kind == stream)


async def upgrade(door: Daemon, path: str, body: bytes = b"", tcp: bool = True) -> Client:
    """A hijacked connection, its head read."""
    connection = await connect(door.socket)
    lines = [f"POST {path} HTTP/1.1", "Host: docker", f"Content-Length: {len(body)}"]
    lines += ["Content-Type: application/json"] if body else []
    lines += ["Connection: Upgrade", "Upgrade: tcp"] if tcp else []
    await connection.send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
    status, headers = await connection.head()
    assert status == (101 if tcp else 200), headers
    connection.headers = headers  # type: ignore[attr-defined]
    return connection


# The engine


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


@pytest.mark.parametrize("path", ["/nonsense", "/v1.41/nonsense", "/containers", "/containers//json", "/v1.41"])
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
    assert answer["message"].startswith(f"cannot kill container: {name}: ")
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


async def test_what_an_image_declares_and_is_not_built_is_warned_of(client: Client) -> None:
    changes = "&changes=VOLUME%20/data&changes=CMD%20true"
    await client.ask("POST", f"/images/create?fromSrc=-&repo=declares&tag=1{changes}", root_tar(), {"X-Kind": "tar"})
    _, made = await client.ask("POST", "/containers/create", {"Image": "declares:1"})
    assert ["/data" in warning for warning in made["Warnings"]] == [True]
    await client.ask("DELETE", f"/containers/{made['Id']}")
    await client.ask("DELETE", "/images/declares:1")


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
    assert {"kernel", "accelerator", "vcpus", "memory", "trace"} <= view["Hypercell"].keys()
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
    assert await listed(client, volume=["v"]) == set()
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


@pytest.mark.parametrize("tcp", [True, False])
async def test_input_ends_and_output_goes_on(door: Daemon, client: Client, make: Make, tcp: bool) -> None:
    name = await make("cat", OpenStdin=True, StdinOnce=True)
    stream = await upgrade(door, f"/containers/{name}/attach?stream=1&stdin=1&stdout=1&stderr=1", tcp=tcp)
    kind = stream.headers["content-type"]  # type: ignore[attr-defined]
    assert kind == f"application/vnd.docker.{'multiplexed' if tcp else 'raw'}-stream"
    await client.ask("POST", f"/containers/{name}/start")
    await stream.send(b"hello\n")
    assert await stream.reader.readexactly(14) == b"\x01\0\0\0\0\0\0\x06hello\n"
    await stream.send(b"bye")
    stream.writer.write_eof()
    assert joined(await stream.reader.read(), 1) == b"bye"
    assert (await client.ask("POST", f"/containers/{name}/wait"))[1] == {"StatusCode": 0}


async def test_a_container_keeps_its_input_when_one_of_many_clients_ends_its_own(
    door: Daemon, client: Client, make: Make
) -> None:
    name = await make("cat", start=True, OpenStdin=True)
    stream = await upgrade(door, f"/containers/{name}/attach?stream=1&stdin=1&stdout=1")
    stream.writer.write_eof()
    assert await stream.reader.read() == b""
    assert (await client.ask("GET", f"/containers/{name}/json"))[1]["State"]["Running"] is True


async def test_a_terminal_is_not_multiplexed_and_detach_keys_let_go(door: Daemon, client: Client, make: Make) -> None:
    name = await make("cat", start=True, OpenStdin=True, StdinOnce=True, Tty=True)
    stream = await upgrade(door, f"/containers/{name}/attach?stream=1&stdin=1&stdout=1&stderr=1&detachKeys=ctrl-x,y")
    assert stream.headers["content-type"] == "application/vnd.docker.raw-stream"  # type: ignore[attr-defined]
    await stream.send(b"ab\x18c")
    seen = b""
    while b"\x18c" not in seen:
        seen += await stream.reader.read(100)
    await stream.send(b"d\x18")
    await stream.send(b"y")
    rest = await asyncio.wait_for(stream.reader.read(), 5)
    assert b"y" not in rest
    assert (await client.ask("GET", f"/containers/{name}/json"))[1]["State"]["Running"] is True


async def test_standard_error_is_kept_apart(door: Daemon, client: Client, make: Make) -> None:
    name = await make("sh", "-c", "echo out; echo err >&2")
    stream = await upgrade(door, f"/containers/{name}/attach?stream=1&stdout=1&stderr=1")
    await client.ask("POST", f"/containers/{name}/start")
    data = await stream.reader.read()
    assert (joined(data, 1), joined(data, 2)) == (b"out\n", b"err\n")


async def test_logs_are_told_again(client: Client, make: Make) -> None:
    name = await make("sh", "-c", "echo one; echo two >&2; echo three", start=True)
    await client.ask("POST", f"/containers/{name}/wait")
    _, data = await client.ask("GET", f"/containers/{name}/logs?stdout=1&stderr=1")
    assert (joined(data, 1), joined(data, 2)) == (b"one\nthree\n", b"two\n")
    _, data = await client.ask("GET", f"/containers/{name}/logs?stderr=1")
    assert frames(data) == [(2, b"two\n")]
    _, data = await client.ask("GET", f"/containers/{name}/logs?stdout=1&tail=1")
    assert frames(data) == [(1, b"three\n")]
    _, data = await client.ask("GET", f"/containers/{name}/logs?stdout=1&tail=1&timestamps=1")
    stamp, _, line = frames(data)[0][1].partition(b" ")
    assert (len(stamp), stamp[-1:], line) == (30, b"Z", b"three\n")
    _, data = await client.ask("GET", f"/containers/{name}/logs?stdout=1&since={time.time() + 5}")
    assert data == b""
    assert (await client.ask("GET", f"/containers/{name}/logs"))[0] == 400
    assert (await client.ask("GET", f"/containers/{name}/logs?stdout=1&since=soon"))[0] == 400


async def test_followed_logs_end_with_the_container(door: Daemon, client: Client, make: Make) -> None:
    name = await make("sh", "-c", "echo first; sleep 0.3; echo last", start=True)
    follower = await connect(door.socket)
    status, data = await asyncio.wait_for(follower.ask("GET", f"/containers/{name}/logs?follow=1&stdout=1"), 10)
    assert (status, joined(data, 1)) == (200, b"first\nlast\n")
    await follower.close()


async def test_two_hundred_clients_at_one_container(door: Daemon, client: Client, make: Make) -> None:
    name = await make("cat", OpenStdin=True)
    path = f"/containers/{name}/attach?stream=1&stdout=1"
    streams = [await upgrade(door, path) for _ in range(200)]
    await client.ask("POST", f"/containers/{name}/start")
    writer = await upgrade(door, f"/containers/{name}/attach?stream=1&stdin=1")
    await writer.send(b"to all\n")
    for stream in streams:
        assert await asyncio.wait_for(stream.reader.readexactly(15), 20) == b"\x01\0\0\0\0\0\0\x07to all\n"
        await stream.close()
    assert await client.ask("GET", "/_ping") == (200, b"OK")


async def test_a_client_that_never_reads_holds_up_nobody(door: Daemon, client: Client, make: Make) -> None:
    name = await make("yes", start=True)
    stuck = await upgrade(door, f"/containers/{name}/attach?stream=1&stdout=1")
    reader = await upgrade(door, f"/containers/{name}/attach?stream=1&stdout=1")
    for _ in range(50):
        assert len(await asyncio.wait_for(reader.reader.readexactly(100_000), 20)) == 100_000
    assert await client.ask("GET", "/_ping") == (200, b"OK")
    await stuck.close()
    await reader.close()


# Execs


async def make_exec(client: Client, name: str, *command: str, **more: Any) -> str:
    body = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, **more}
    status, answer = await client.ask("POST", f"/containers/{name}/exec", body)
    assert status == 201, answer
    return str(answer["Id"])


async def test_an_exec_runs_and_is_remembered(door: Daemon, client: Client, make: Make) -> None:
    name = await make("sleep", "60", start=True)
    exec_id = await make_exec(client, name, "sh", "-c", "echo out; exit 4", User="1")
    stream = await upgrade(door, f"/exec/{exec_id}/start", b"{}")
    assert joined(await stream.reader.read(), 1) == b"out\n"
    _, view = await client.ask("GET", f"/exec/{exec_id}/json")
    assert (view["ExitCode"], view["Running"], view["ProcessConfig"]["user"]) == (4, False, "1")
    assert view["ProcessConfig"]["entrypoint"] == "sh"
    assert (await client.ask("POST", f"/exec/{exec_id}/start", {}))[0] == 409


async def test_an_exec_reads_to_the_end_of_its_input(door: Daemon, client: Client, make: Make) -> None:
    name = await make("sleep", "60", start=True)
    exec_id = await make_exec(client, name, "cat", AttachStdin=True)
    stream = await upgrade(door, f"/exec/{exec_id}/start", b'{"Detach":false,"Tty":false}')
    await stream.send(b"data")
    stream.writer.write_eof()
    assert joined(await stream.reader.read(), 1) == b"data"


async def test_a_detached_exec_goes_on_alone(client: Client, make: Make) -> None:
    name = await make("sleep", "60", start=True)
    exec_id = await make_exec(client, name, "true")
    assert (await client.ask("POST", f"/exec/{exec_id}/start", {"Detach": True}))[0] == 200
    for _ in range(100):
        _, view = await client.ask("GET", f"/exec/{exec_id}/json")
        if not view["Running"]:
            break
        await asyncio.sleep(0.02)
    assert view["ExitCode"] == 0


async def test_an_exec_of_nothing_tells_the_client_on_its_stream(door: Daemon, client: Client, make: Make) -> None:
    name = await make("sleep", "60", start=True)
    exec_id = await make_exec(client, name, "nosuchprogram")
    stream = await upgrade(door, f"/exec/{exec_id}/start", b"{}")
    assert b"no" in joined(await stream.reader.read(), 1)
    assert (await client.ask("GET", f"/exec/{exec_id}/json"))[1]["ExitCode"] == 127


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "No exec command specified"),
        ({"Cmd": []}, "No exec command specified"),
        ({"Cmd": ["x"], "Env": ["=y"]}, "invalid environment variable"),
        ({"Cmd": ["x"], "DetachKeys": "ctrl-1"}, "Invalid detach keys"),
        ({"Cmd": ["x"], "WorkingDir": "rel"}, "absolute path"),
        ({"Cmd": ["x"], "Nonsense": 1}, "unknown field Nonsense"),
    ],
)
async def test_malformed_execs_are_refused(client: Client, make: Make, body: dict[str, Any], message: str) -> None:
    name = await make("sleep", "60", start=True)
    status, answer = await client.ask("POST", f"/containers/{name}/exec", body)
    assert status == 400
    assert message in answer["message"]


async def test_an_exec_in_what_does_not_run_is_a_conflict(client: Client, make: Make) -> None:
    status, answer = await client.ask("POST", f"/containers/{await make()}/exec", {"Cmd": ["true"]})
    assert status == 409
    assert "is not running" in answer["message"]


async def test_no_such_exec(client: Client) -> None:
    for method, path in (("GET", "json"), ("POST", "start"), ("POST", "resize?h=1&w=1")):
        status, answer = await client.ask(method, f"/exec/{'0' * 64}/{path}")
        assert status == 404
        assert "No such exec instance" in answer["message"]


async def test_windows_are_resized(door: Daemon, client: Client, make: Make) -> None:
    name = await make("cat", start=True, Tty=True, OpenStdin=True)
    assert (await client.ask("POST", f"/containers/{name}/resize?h=33&w=77"))[0] == 200
    exec_id = await make_exec(client, name, "stty", "size", Tty=True, ConsoleSize=[20, 40])
    stream = await upgrade(door, f"/exec/{exec_id}/start", b'{"Tty":true}')
    assert b"20 40" in await stream.reader.read()
    for wrong in ("h=x&w=1", "h=1", "h=-1&w=1", "h=1&w=99999999999"):
        status, answer = await client.ask("POST", f"/containers/{name}/resize?{wrong}")
        assert (status, answer["message"][:14]) == (400, "invalid resize")


# Figures


async def test_top_shows_the_columns_of_ps(client: Client, make: Make) -> None:
    name = await make("sleep", "60", start=True)
    _, answer = await client.ask("GET", f"/containers/{name}/top")
    assert answer["Titles"] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert answer["Processes"][0][0] == "root"
    assert answer["Processes"][0][-1] == "sleep 60"
    _, answer = await client.ask("GET", f"/containers/{name}/top?ps_args=-eo%20pid,comm=NAME")
    assert answer["Titles"] == ["PID", "NAME"]
    assert (await client.ask("GET", f"/containers/{name}/top?ps_args=aux"))[0] == 501
    assert (await client.ask("GET", f"/containers/{name}/top?ps_args=-o%20comm"))[0] == 400


async def read_chunk(stream: Client) -> bytes:
    size = int((await stream.reader.readline()).strip(), 16)
    return (await stream.reader.readexactly(size + 2))[:-2]


async def test_stats_are_in_dockers_shape(door: Daemon, client: Client, make: Make) -> None:
    name = await make("sleep", "60", start=True)
    _, one = await client.ask("GET", f"/containers/{name}/stats?stream=0&one-shot=1")
    assert one["name"] == f"/{name}"
    assert one["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert one["cpu_stats"]["online_cpus"] >= 1
    assert one["memory_stats"]["limit"] > 0
    assert isinstance(one["networks"], dict)
    stream = await connect(door.socket)
    await stream.send(f"GET /containers/{name}/stats HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await stream.head()
    first, second = [json.loads(await read_chunk(stream)) for _ in range(2)]
    assert (first["preread"], second["preread"]) == ("0001-01-01T00:00:00Z", first["read"])
    assert second["precpu_stats"] == first["cpu_stats"]
    await stream.close()
    await client.ask("POST", f"/containers/{name}/stop?t=0")
    _, none = await client.ask("GET", f"/containers/{name}/stats?stream=0")
    assert (none["read"], none["memory_stats"]) == ("0001-01-01T00:00:00Z", {})
    assert (await client.ask("GET", f"/containers/{name}/stats?one-shot=1"))[0] == 400


# Files


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


# Changes


async def test_rename_update_and_prune(client: Client, make: Make) -> None:
    name = await make(Labels={"prune": "me"})
    other = next(_names)
    assert (await client.ask("POST", f"/containers/{name}/rename?name={other}"))[0] == 204
    assert (await client.ask("POST", f"/containers/{other}/rename?name="))[0] == 400
    assert (await client.ask("POST", f"/containers/{other}/rename?name=..%2Fx"))[0] == 400
    body = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}
    assert await client.ask("POST", f"/containers/{other}/update", body) == (200, {"Warnings": []})
    _, view = await client.ask("GET", f"/containers/{other}/json")
    assert view["HostConfig"]["RestartPolicy"] == body["RestartPolicy"]
    assert (await client.ask("POST", f"/containers/{other}/update", {"CpusetCpus": "0"}))[0] == 501
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
    for query in ("fromImage=UPPER", "fromImage=a%20b&tag=x", "fromImage=x", "", "fromSrc=http://x"):
        assert (await client.ask("POST", f"/images/create?{query}"))[0] in (400, 501)
    headers = {"X-Registry-Auth": "!!!"}
    assert (await client.ask("POST", "/images/create?fromImage=a&tag=1", headers=headers))[0] == 400


# Networks, volumes, space


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


async def test_there_are_no_volumes(client: Client) -> None:
    assert await client.ask("GET", "/volumes") == (200, {"Volumes": [], "Warnings": None})
    assert await client.ask("GET", "/volumes/v") == (404, {"message": "get v: no such volume"})
    assert (await client.ask("POST", "/volumes/prune"))[1]["SpaceReclaimed"] == 0


async def test_disk_usage_counts(client: Client, make: Make) -> None:
    await make()
    _, usage = await client.ask("GET", "/system/df")
    assert usage["LayersSize"] > 0
    assert usage["Images"][0]["Containers"] >= 1
    assert usage["Containers"][0]["SizeRootFs"] >= 0
    _, only = await client.ask("GET", "/system/df?type=volume")
    assert (only["Images"], only["Volumes"]) == (None, [])
    assert (await client.ask("GET", "/system/df?type=odd"))[0] == 400
