# SPDX-License-Identifier: Apache-2.0
"""testcontainers, which test suites start their servers with: real servers of Debian's packages in real VMs."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.container import DockerContainer, ExecConfig
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import (
    ExecWaitStrategy,
    HealthcheckWaitStrategy,
    HttpWaitStrategy,
    LogMessageWaitStrategy,
    PortWaitStrategy,
)
from testcontainers.core.waiting_utils import wait_for_logs

from tests.support.daemon import Daemon
from tests.system.conftest import IMAGE

pytestmark = [pytest.mark.vm, pytest.mark.root]

REDIS = ["redis-server", "--save", "", "--bind", "0.0.0.0", "--protected-mode", "no"]


@pytest.fixture(autouse=True)
def settings(engine: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user sets in the environment. Ryuk wants docker's socket in its container, which no VM has."""
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setattr(testcontainers_config, "_ryuk_disabled", True)
    # This machine may look like a container itself.
    monkeypatch.setattr(testcontainers_config, "connection_mode_override", ConnectionMode.docker_host)
    monkeypatch.setattr(testcontainers_config, "sleep_time", 0.1)


@pytest.fixture
def redis(debian: str) -> Iterator[DockerContainer]:
    ready = LogMessageWaitStrategy("Ready to accept connections")
    with DockerContainer(debian).with_command(REDIS).with_exposed_ports(6379).waiting_for(ready) as container:
        yield container


def asked(container: DockerContainer, port: int, *lines: str) -> list[str]:
    """The first line of the server's answer to each."""
    address = container.get_container_host_ip(), container.get_exposed_port(port)
    with socket.create_connection(address, timeout=20) as connection, connection.makefile("rwb", buffering=0) as stream:
        answers = []
        for line in lines:
            stream.write(f"{line}\r\n".encode())
            answers.append(stream.readline().decode().strip())
        return answers


def test_a_server_answers_at_its_exposed_port(redis: DockerContainer) -> None:
    assert asked(redis, 6379, "PING", "SET kept 1", "INCR kept") == ["+PONG", "+OK", ":2"]
    done = redis.exec(["redis-cli", "GET", "kept"])
    assert (done.exit_code, done.output) == (0, b"2\n")


def test_many_quick_execs_lose_no_output(redis: DockerContainer) -> None:
    said = [redis.exec(ExecConfig(["sh", "-c", "echo $N"], environment={"N": str(number)})) for number in range(40)]
    assert [(done.exit_code, done.output) for done in said] == [(0, f"{number}\n".encode()) for number in range(40)]


def test_what_an_exec_could_not_start_for_is_told(redis: DockerContainer) -> None:
    said = [redis.exec(["nosuchprogram"]) for _ in range(10)]
    assert {done.exit_code for done in said} == {127}
    assert [b"executable file not found" in done.output for done in said] == [True] * 10


def test_environment_files_and_logs_reach_the_test(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("FROM_FILE=yes\n")
    container = DockerContainer(IMAGE).with_env("WORD", "hello").with_env_file(file)
    container = container.with_copy_into_container(b"brought along\n", "/tmp/brought", mode=0o644)
    script = "echo $WORD $FROM_FILE; cat /tmp/brought; echo err >&2; sleep 1000"
    container = container.with_command(["sh", "-c", script])
    with container.with_tmpfs_mount("/cache", "size=1m") as started:
        wait_for_logs(started, LogMessageWaitStrategy("brought along"))
        assert started.get_logs() == (b"hello yes\nbrought along\n", b"err\n")
        assert started.exec("grep -c /cache /proc/mounts").output == b"1\n"


@pytest.mark.parametrize(
    "ready",
    [
        PortWaitStrategy(80),
        HttpWaitStrategy(80, "/").for_status_code(200),
        ExecWaitStrategy(["test", "-e", "/run/nginx.pid"]),
        HealthcheckWaitStrategy(),
    ],
    ids=lambda strategy: type(strategy).__name__,
)
def test_every_way_to_wait_for_a_server(debian: str, ready: object) -> None:
    check = {"test": ["CMD", "test", "-e", "/run/nginx.pid"], "interval": 200_000_000}
    container = DockerContainer(debian, healthcheck=check).with_exposed_ports(80)
    container = container.with_command(["nginx", "-g", "daemon off;"]).waiting_for(ready)  # type: ignore[arg-type]
    with container as started:
        url = f"http://{started.get_container_host_ip()}:{started.get_exposed_port(80)}/"
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert b"nginx" in answer.read()


def test_nothing_is_left_of_a_container_that_did_not_become_ready(client: docker.DockerClient) -> None:
    container = DockerContainer(IMAGE).with_command(["sleep", "1000"])
    never = LogMessageWaitStrategy("never said").with_startup_timeout(1)
    with pytest.raises(TimeoutError), container.waiting_for(never):
        pass
    assert client.containers.list(all=True, filters={"label": "org.testcontainers=true"}) == []


def test_containers_of_a_network_find_each_other_by_alias(debian: str) -> None:
    ready = LogMessageWaitStrategy("Ready to accept connections")
    with Network() as network:
        server = DockerContainer(debian).with_command(REDIS).with_network(network).with_network_aliases("cache")
        asks = DockerContainer(debian).with_command("sleep 1000").with_network(network)
        with server.waiting_for(ready), asks as asking:
            assert asking.exec(["redis-cli", "-h", "cache", "PING"]).output == b"PONG\n"
