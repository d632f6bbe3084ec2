# SPDX-License-Identifier: Apache-2.0
"""docker compose brings up an application of several services, each of them in a VM of its own."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import COMPOSE
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.timeout(400)]

PROJECT = Path(__file__).parent / "application"
_CLEAR = "\x1b[2K"
"""What compose begins each line with, even without a terminal."""
SERVICES = {"database", "cache", "web", "worker"}


class Project:
    """docker compose with one project on one engine."""

    def __init__(self, engine: Daemon, name: str, directory: Path) -> None:
        self._engine = engine
        self._words = [str(COMPOSE), "--ansi", "never", "--project-name", name, "--project-directory", str(directory)]

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._words, *words],
            env={**self._engine.environment, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def __call__(self, *words: str, check: bool = True, **environment: str) -> str:
        """Its standard output."""
        done = self.run(*words, **environment)
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def containers(self, *words: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self("ps", "--format", "json", *words).splitlines()]

    def inspect(self, *services: str) -> list[dict[str, Any]]:
        names = self("ps", "-q", *services).split()
        return [self._engine.call("GET", f"/containers/{name}/json")[1] for name in names]

    def redis(self, *words: str) -> str:
        """The database's answer; it may not be there yet."""
        return self("exec", "-T", "database", "redis-cli", "--raw", *words, check=False).strip()

    def page(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{self('port', 'web', '8000').strip()}/", timeout=60) as answer:
            return dict(json.load(answer))


@pytest.fixture(scope="module")
def application(engine: Daemon, debian: str) -> Iterator[Project]:
    project = Project(engine, "shop", PROJECT)
    try:
        project("up", "--detach", "--wait", "--wait-timeout", "240", PLACE="here")
        yield project
    finally:
        project("--profile", "tools", "down", "--volumes", "--timeout", "1", check=False)


def said(output: str) -> list[tuple[str, str]]:
    """(container, line)."""
    lines = [line.removeprefix(_CLEAR).split("|", 1) for line in output.splitlines() if "|" in line]
    return [(container.strip(), text.strip()) for container, text in lines]


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_every_service_is_there_once_its_dependencies_are(application: Project) -> None:
    found = {item["Service"]: (item["State"], item["Health"]) for item in application.containers()}
    healthy = dict.fromkeys(["database", "cache", "web"], ("running", "healthy"))
    assert found == {**healthy, "worker": ("running", "")}
    (schema,) = application.containers("--all", "schema")
    assert (schema["State"], schema["ExitCode"]) == ("exited", 0)


def test_every_service_has_a_vm_of_its_own(application: Project) -> None:
    hypervisors = {item["State"]["Pid"] for item in application.inspect()}
    assert len(hypervisors) == len(SERVICES)
    assert {Path(f"/proc/{pid}/comm").read_text()[:4] for pid in hypervisors} == {"qemu"}


def test_services_find_each_other_by_name_and_serve(application: Project) -> None:
    first, second = application.page(), application.page()
    assert second["visits"] == first["visits"] + 1
    assert (first["greeting"], first["place"], first["colour"]) == ("hello", "here", "green")
    assert (first["cached"], second["cached"]) == ("END", "stored")


def test_workers_are_scaled_and_found_under_one_name(application: Project) -> None:
    application("up", "--detach", "--no-recreate", "--scale", "worker=3", "worker", PLACE="here")
    names = {item["Config"]["Hostname"] for item in application.inspect("worker")}
    assert len(names) == 3
    until(lambda: set(application.redis("SMEMBERS", "workers").split()) == names)
    application.redis("RPUSH", "jobs", *(str(number) for number in range(20)))
    until(lambda: application.redis("HLEN", "done") == "20")
    assert set(application.redis("HVALS", "done").split()) <= names
    script = "import socket; print(*{item[4][0] for item in socket.getaddrinfo('worker', 80)})"
    addresses = set(application("exec", "-T", "web", "python3", "-c", script).split())
    told = {item["NetworkSettings"]["Networks"]["shop_default"]["IPAddress"] for item in application.inspect("worker")}
    assert addresses == told
    application("up", "--detach", "--no-recreate", "--scale", "worker=1", "worker", PLACE="here")
    assert len(application.containers("worker")) == 1


def test_logs_of_all_services_are_told_apart(application: Project) -> None:
    lines = said(application("logs", "--no-color"))
    assert ("web-1", "serving") in lines
    (worker,) = application.inspect("worker")
    assert ("worker-1", f"worker {worker['Config']['Hostname']} is here") in lines


def test_files_are_copied_in_and_out(application: Project, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("carried\n")
    application("cp", str(tmp_path / "in"), "web:/tmp/there")
    assert application("exec", "-T", "web", "cat", "/tmp/there") == "carried\n"
    application("cp", "web:/tmp/there", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "carried\n"


def test_a_service_of_a_profile_is_started_only_with_it(application: Project) -> None:
    assert "tool" not in {item["Service"] for item in application.containers("--all")}
    said = application("--profile", "tools", "run", "--rm", "-T", "tool")
    assert int(said) > 0
    assert "tool" not in {item["Service"] for item in application.containers("--all")}


def test_a_service_that_is_made_anew_is_found_under_its_name_with_its_data(application: Project) -> None:
    before, old = application.page()["visits"], application("ps", "-q", "database")
    application("up", "--detach", "--wait", "--no-deps", "--force-recreate", "--timeout", "1", "database")
    assert application("ps", "-q", "database") != old
    assert application.page()["visits"] == before + 1


def test_data_outlives_the_application_until_it_is_thrown_away_with_it(engine: Daemon, application: Project) -> None:
    before = application.page()["visits"]
    application("down", "--timeout", "1")
    assert application.containers("--all") == []
    application("up", "--detach", "--wait", "--wait-timeout", "240", PLACE="there")
    page = application.page()
    assert (page["visits"], page["cached"], page["place"]) == (before + 1, "END", "there")
    application("down", "--volumes", "--timeout", "1")
    assert engine.call("GET", "/containers/json?all=1")[1] == []
    assert engine.call("GET", "/volumes")[1]["Volumes"] in (None, [])
    assert {item["Name"] for item in engine.call("GET", "/networks")[1]} == {"bridge", "none"}


SUITE = """
services:
  server:
    image: busybox:test
    command: sh -c "echo page >/index.html; exec httpd -f -p 80 -h /"
    stop_grace_period: 1s
    networks: { default: { aliases: [shop.example] } }
  suite:
    image: busybox:test
    depends_on: [server]
    command:
      - sh
      - -c
      - |
        until printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 5 shop.example 80 | grep page; do sleep 0.2; done
        exit 3
networks:
  default: { internal: true, labels: { purpose: test } }
"""


def test_a_test_suite_against_its_servers_tells_its_output_and_exit_code(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(SUITE)
    project = Project(engine, "suite", tmp_path)
    try:
        done = project.run("up", "--no-color", "--exit-code-from", "suite")
        assert done.returncode == 3, done.stderr
        assert ("suite-1", "page") in said(done.stdout)
    finally:
        project("down", "--volumes", "--timeout", "1", check=False)


PARTED = """
x-common: &common { image: "busybox:test", init: true, command: sleep 1000, stop_grace_period: 1s }
services:
  edge: { <<: *common, networks: [front, back] }
  store: { <<: *common, networks: [back] }
  stranger: { <<: *common, networks: [front] }
networks:
  front: {}
  back: { internal: true }
"""


def test_services_reach_those_on_a_network_of_theirs_and_no_others(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(PARTED)
    project = Project(engine, "parted", tmp_path)

    def reaches(service: str, other: str) -> bool:
        return "reached" in project(
            "exec", "-T", service, "sh", "-c", f"ping -c 1 -W 5 {other} >&2 && echo reached; true"
        )

    try:
        project("up", "--detach")
        (store,) = project.inspect("store")
        address = store["NetworkSettings"]["Networks"]["parted_back"]["IPAddress"]
        assert reaches("edge", "store") and reaches("edge", "stranger")
        assert reaches("store", "edge") and reaches("stranger", "edge")
        assert not reaches("stranger", "store") and not reaches("stranger", address)
    finally:
        project("down", "--volumes", "--timeout", "1", check=False)


BUILT = """
services:
  page:
    build: { context: ., target: final, args: { WORD: made } }
    init: true
    stop_grace_period: 1s
"""
DOCKERFILE = """
FROM busybox:test AS base
COPY file /said
FROM base AS final
ARG WORD
RUN echo $WORD >>/said
CMD ["sh", "-c", "cat /said; exec sleep 1000"]
"""


def test_a_service_is_built_and_built_anew_when_its_sources_change(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(BUILT)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    project = Project(engine, "built", tmp_path)
    try:
        for text in ("one", "two"):
            (tmp_path / "file").write_text(f"{text}\n")
            project("up", "--detach", "--build", DOCKER_BUILDKIT="0")
            until(lambda: project("logs", "--no-log-prefix").count("\n") >= 2)
            assert [line.removeprefix(_CLEAR) for line in project("logs", "--no-log-prefix").split()] == [text, "made"]
    finally:
        project("down", "--volumes", "--rmi", "local", "--timeout", "1", check=False)
