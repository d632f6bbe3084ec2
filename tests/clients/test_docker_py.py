# SPDX-License-Identifier: Apache-2.0
"""docker-py, the client library that most Python programs use, with real VMs."""

from __future__ import annotations

import contextlib
import io
import itertools
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import Healthcheck, LogConfig, Ulimit

from tests.system.conftest import IMAGE

pytestmark = [pytest.mark.vm, pytest.mark.root]

_numbers = itertools.count(1)


@pytest.fixture
def sleeper(client: docker.DockerClient) -> Iterator[Container]:
    container = client.containers.run(IMAGE, ["sleep", "1000"], name=f"sleeper{next(_numbers)}", detach=True)
    yield container
    with contextlib.suppress(NotFound):
        container.remove(force=True)


def packed(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_the_engine_introduces_itself(client: docker.DockerClient) -> None:
    assert client.ping()
    assert client.version()["ApiVersion"] == client.api.api_version
    assert client.info()["OSType"] == "linux"
    assert {"Images", "Containers", "Volumes"} <= set(client.df())


def test_run_returns_the_output_and_removes_the_container(client: docker.DockerClient) -> None:
    said = client.containers.run(IMAGE, ["sh", "-c", "echo $WORD; pwd"], environment={"WORD": "hi"}, working_dir="/tmp")
    assert said == b"hi\n/tmp\n"
    count = len(client.containers.list(all=True))
    assert client.containers.run(IMAGE, "true", remove=True) == b""
    assert len(client.containers.list(all=True)) == count
    with pytest.raises(ContainerError) as failed:
        client.containers.run(IMAGE, ["sh", "-c", "echo wrong >&2; exit 3"], remove=True, stderr=True)
    assert (failed.value.exit_status, failed.value.stderr) == (3, b"wrong\n")
    client.containers.prune()


def test_a_missing_image_or_container_is_an_exception_of_its_own(client: docker.DockerClient) -> None:
    with pytest.raises(ImageNotFound):
        client.containers.create("nosuch:1", "true")
    with pytest.raises(NotFound):
        client.containers.get("nosuch")


def test_a_life_from_create_to_remove(client: docker.DockerClient) -> None:
    life = client.containers.create(
        IMAGE,
        ["sleep", "1000"],
        name="life",
        labels={"tour": "py"},
        hostname="me",
        user="5:6",
        mem_limit="64m",
        nano_cpus=500_000_000,
        pids_limit=50,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        tmpfs={"/run": "size=1m"},
        ulimits=[Ulimit(name="nofile", soft=77, hard=99)],
        log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "1m"}),
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 1},
        init=True,
    )
    try:
        assert life.status == "created"
        life.start()
        life.reload()
        assert (life.status, life.labels) == ("running", {"tour": "py"})
        assert [found.id for found in client.containers.list(filters={"label": "tour=py"})] == [life.id]
        script = "id -u; hostname; ulimit -n; cat /sys/fs/cgroup/pids.max"
        assert life.exec_run(["sh", "-c", script]).output.split() == [b"5", b"me", b"77", b"50"]
        life.pause()
        life.reload()
        assert life.status == "paused"
        life.unpause()
        life.update(mem_limit="48m", memswap_limit="48m")
        life.rename("after")
        assert client.containers.get("after").attrs["HostConfig"]["Memory"] == 48 << 20
        life.restart(timeout=0)
        life.kill("KILL")
        assert life.wait()["StatusCode"] == 137
    finally:
        life.remove(force=True)
    with pytest.raises(NotFound):
        life.reload()


def test_exec_collects_streams_and_tells_the_exit_code(sleeper: Container) -> None:
    script = "echo out; echo err >&2; exit 3"
    assert sleeper.exec_run(["sh", "-c", script], demux=True) == (3, (b"out\n", b"err\n"))
    assert sleeper.exec_run(["sh", "-c", "echo $WORD"], environment=["WORD=x"]).output == b"x\n"
    pieces = sleeper.exec_run(["sh", "-c", "echo one; echo two"], stream=True).output
    assert b"".join(pieces) == b"one\ntwo\n"
    assert sleeper.exec_run("test -t 1", tty=True).exit_code == 0
    missing = sleeper.exec_run("nosuchprogram")
    assert (missing.exit_code, b"not found" in missing.output) == (127, True)


def test_exec_takes_input_over_a_raw_socket(client: docker.DockerClient, sleeper: Container) -> None:
    made = client.api.exec_create(sleeper.id, ["head", "-n", "1"], stdin=True, tty=True)
    stream = client.api.exec_start(made["Id"], tty=True, socket=True)
    with contextlib.closing(stream):
        stream._sock.sendall(b"typed\n")
        seen = b""
        while data := stream.read(4096):
            seen += data
    assert seen.count(b"typed\r\n") == 2, "its echo and its output"
    assert client.api.exec_inspect(made["Id"])["ExitCode"] == 0


def test_logs_are_followed_to_the_end_and_cut_by_time_and_number(client: docker.DockerClient) -> None:
    script = "echo one; echo err >&2; sleep 1.1; echo two; exec sleep 0.2"
    talker = client.containers.run(IMAGE, ["sh", "-c", script], detach=True)
    try:
        assert b"".join(talker.logs(stream=True, follow=True, stderr=False)) == b"one\ntwo\n"
        assert talker.logs(stdout=False) == b"err\n"
        assert talker.logs(tail=1) == b"two\n"
        stamped = talker.logs(timestamps=True, stderr=False).decode().splitlines()
        assert [line.split()[1] for line in stamped] == ["one", "two"]
        started = talker.attrs["Created"]
        assert stamped[0].split()[0] > started
        assert talker.logs(since=int(time.time()) + 60) == b""
    finally:
        talker.remove(force=True)


def test_attach_sees_what_is_said_from_then_on_and_carries_input(client: docker.DockerClient) -> None:
    container = client.containers.create(IMAGE, ["cat"], stdin_open=True)
    try:
        stream = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
        container.start()
        with contextlib.closing(stream):
            stream._sock.sendall(b"to and fro\n")
            frame = stream.read(8 + 11)
        assert frame == b"\x01\0\0\0\0\0\0\x0bto and fro\n"
    finally:
        container.remove(force=True)


def test_events_tell_a_life_in_its_order(client: docker.DockerClient) -> None:
    since = int(time.time())
    container = client.containers.run(IMAGE, "true", name="eventful", detach=True)
    container.wait()
    container.remove()
    wanted = {"container": "eventful", "type": "container"}
    told: list[Any] = []
    with contextlib.closing(client.events(since=since, decode=True, filters=wanted)) as events:
        for event in events:
            told.append(event["Action"])
            if event["Action"] == "destroy":
                break
    assert told == ["create", "start", "die", "destroy"]


def test_archives_go_in_and_out(sleeper: Container) -> None:
    content = bytes(range(256)) * 4096
    assert sleeper.put_archive("/tmp", packed("data", content))
    pieces, stat = sleeper.get_archive("/tmp/data", chunk_size=65536)
    assert (stat["name"], stat["size"]) == ("data", len(content))
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        member = tar.extractfile("data")
        assert member is not None and member.read() == content
    with pytest.raises(NotFound):
        sleeper.get_archive("/nosuch")
    assert {"Path": "/tmp/data", "Kind": 1} in sleeper.diff()
    with tarfile.open(fileobj=io.BytesIO(b"".join(sleeper.export()))) as tar:
        assert "tmp/data" in tar.getnames()


def test_usage_is_told_once_and_as_a_stream(sleeper: Container) -> None:
    once = sleeper.stats(stream=False)
    assert once["memory_stats"]["usage"] > 0
    with contextlib.closing(sleeper.stats(stream=True, decode=True)) as stream:
        first, second = next(stream), next(stream)
    assert first["read"] < second["read"]
    assert sleeper.top()["Processes"][0][-1] == "sleep 1000"


def test_health_is_told(client: docker.DockerClient) -> None:
    check = Healthcheck(test=["CMD", "true"], interval=100_000_000, timeout=10**10)
    patient = client.containers.run(IMAGE, ["sleep", "1000"], healthcheck=check, detach=True)
    try:
        with contextlib.closing(
            client.events(since=1, decode=True, filters={"container": patient.id, "event": "health_status"})
        ) as events:
            assert next(events)["Action"] == "health_status: healthy"
        patient.reload()
        assert patient.health == "healthy"
    finally:
        patient.remove(force=True)


def test_ports_are_published_and_told(client: docker.DockerClient) -> None:
    serving = client.containers.run(IMAGE, ["sleep", "1000"], ports={"80/tcp": None, "53/udp": 5353}, detach=True)
    try:
        serving.reload()
        assert serving.ports["53/udp"][0]["HostPort"] == "5353"
        assert int(serving.ports["80/tcp"][0]["HostPort"]) > 1024
    finally:
        serving.remove(force=True)


def test_images_are_tagged_saved_loaded_and_removed(client: docker.DockerClient) -> None:
    image = client.images.get(IMAGE)
    assert image.tag("copy", "1")
    assert "copy:1" in client.images.get(image.id).tags
    saved = b"".join(client.images.get("copy:1").save(named="copy:1"))
    client.images.remove("copy:1")
    with pytest.raises(ImageNotFound):
        client.images.get("copy:1")
    (loaded,) = client.images.load(saved)
    assert (loaded.id, "copy:1" in loaded.tags) == (image.id, True)
    assert image.history()[0]["Size"] > 0
    assert IMAGE in [tag for found in client.images.list(filters={"reference": "busybox"}) for tag in found.tags]
    client.images.remove("copy:1")


def test_a_conflict_is_told_in_dockers_words(client: docker.DockerClient, sleeper: Container) -> None:
    with pytest.raises(APIError) as refused:
        client.containers.create(IMAGE, "true", name=sleeper.name)
    assert (refused.value.status_code, "is already in use by container" in str(refused.value)) == (409, True)
    with pytest.raises(APIError, match="container is running"):
        sleeper.remove()
