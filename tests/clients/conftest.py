# SPDX-License-Identifier: Apache-2.0
"""A daemon for clients that others wrote, and images made of Debian's packages."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.support.daemon import Daemon, running
from tests.system.conftest import load_busybox

DEBIAN = "debian:test"
"""python3, nginx, redis-server and memcached."""
WORKER = "worker:test"
"""A Buildbot worker, which takes its settings from the environment."""
FIXTURES = Path(__file__).resolve().parents[2] / "build" / "fixtures"
COMPOSE = FIXTURES.parent / "compose/usr/libexec/docker/cli-plugins/docker-compose"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("clients") / "d", bridge="hcclient0", subnet="10.88.0.0/16") as daemon:
        load_busybox(daemon)
        yield daemon


@pytest.fixture(scope="module")
def client(engine: Daemon) -> Iterator[docker.DockerClient]:
    made = docker.DockerClient(base_url=engine.host, version="auto", timeout=100)
    yield made
    made.close()


@pytest.fixture(scope="module")
def debian(engine: Daemon) -> str:
    return load(engine, "debian", DEBIAN)


def load(daemon: Daemon, fixture: str, name: str, *changes: str) -> str:
    """A root of `tools/fixtures` as an image called *name*."""
    options = [word for change in changes for word in ("--change", change)]
    archive = FIXTURES / f"{fixture}.tar"
    command = ["docker", "import", *options, str(archive), name]
    subprocess.run(command, env=daemon.environment, check=True, capture_output=True, timeout=300)
    return name
