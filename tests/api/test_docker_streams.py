# SPDX-License-Identifier: Apache-2.0
"""The Engine API over its socket: attach, exec, logs, stats, and clients that misbehave."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.daemon import Daemon

from .conftest import Client, connect
from .door import Make, frames, joined, upgrade


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


async def test_lines_of_a_log_are_frames_of_their_own_and_many_are_sent_in_one_go(
    door: Daemon, client: Client, make: Make
) -> None:
    name = await make("cat", OpenStdin=True, StdinOnce=True)
    stream = await upgrade(door, f"/containers/{name}/attach?stream=1&stdin=1&stdout=1")
    await client.ask("POST", f"/containers/{name}/start")
    lines = [b"%d\n" % number for number in range(1000)]
    await stream.send(b"".join(lines))
    stream.writer.write_eof()
    assert joined(await stream.reader.read(), 1) == b"".join(lines)
    await client.send(b"GET /containers/%s/logs?stdout=1 HTTP/1.1\r\nHost: docker\r\n\r\n" % name.encode())
    await client.head()
    chunks = []
    while size := int(await client.reader.readline(), 16):
        chunks.append(await client.reader.readexactly(size))
        await client.reader.readexactly(2)
    await client.reader.readexactly(2)
    assert frames(b"".join(chunks)) == [(1, line) for line in lines]
    assert len(chunks) < len(lines) // 10


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


async def test_an_exec_of_which_nobody_wants_a_stream_ends_with_its_process(
    door: Daemon, client: Client, make: Make
) -> None:
    name = await make("cat", start=True, OpenStdin=True)
    _, answer = await client.ask("POST", f"/containers/{name}/exec", {"Cmd": ["true"]})
    stream = await upgrade(door, f"/exec/{answer['Id']}/start")
    assert await asyncio.wait_for(stream.reader.read(), 20) == b""
    assert (await client.ask("GET", f"/exec/{answer['Id']}/json"))[1]["ExitCode"] == 0


@pytest.mark.parametrize("size", [None, [], [0, 0], [20, 80]])
async def test_the_size_of_a_console_says_nothing_without_a_terminal(client: Client, make: Make, size: Any) -> None:
    name = await make("cat", start=True, OpenStdin=True)
    _, answer = await client.ask("POST", f"/containers/{name}/exec", {"Cmd": ["true"]})
    body = {"Detach": True, "ConsoleSize": size}
    assert (await client.ask("POST", f"/exec/{answer['Id']}/start", body))[0] == 200


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

AUX = ["USER", "PID", "%CPU", "%MEM", "VSZ", "RSS", "TTY", "STAT", "START", "TIME", "COMMAND"]


async def test_top_shows_the_columns_of_ps(client: Client, make: Make) -> None:
    name = await make("sleep", "60", start=True)
    _, answer = await client.ask("GET", f"/containers/{name}/top")
    assert answer["Titles"] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert answer["Processes"][0][0] == "root"
    assert answer["Processes"][0][-1] == "sleep 60"
    _, answer = await client.ask("GET", f"/containers/{name}/top?ps_args=-eo%20pid,comm=NAME")
    assert answer["Titles"] == ["PID", "NAME"]
    _, answer = await client.ask("GET", f"/containers/{name}/top?ps_args=aux")
    assert answer["Titles"] == AUX
    assert answer["Processes"][0][:2] == ["root", "1"]
    assert answer["Processes"][0][3:8] == ["3.1", "8192", "4096", "?", "Ss"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("-o comm", 400, "Couldn't find PID field in ps output"),
        ("-o pid=ID", 400, "Couldn't find PID field in ps output"),
        ("-o comm=PID", 400, 'specifying "comm=PID" is not allowed'),
        ("-o odd", 400, 'ps: error: unknown user-defined format specifier "odd"'),
        ("aux -o pid", 400, "ps: error: conflicting format options"),
        ("-l", 501, "ps_args '-l' is not built yet"),
    ],
)
async def test_a_top_that_ps_or_docker_refuses_is_refused(
    client: Client, make: Make, arguments: str, status: int, words: str
) -> None:
    name = await make("sleep", "60", start=True)
    answered, answer = await client.ask("GET", f"/containers/{name}/top?ps_args={quote(arguments)}")
    assert (answered, answer["message"].startswith(words)) == (status, True)


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
