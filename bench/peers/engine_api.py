# SPDX-License-Identifier: Apache-2.0
"""A peer that serves the Engine API."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bench.engine import Engine
from tools.demo_image import layer as busybox_layer

IMAGE = "busybox:bench"


class LeftOut(Exception):
    """This peer cannot run on this machine; the words say why."""


class EngineApi:
    name: str
    engine: Engine
    socket: Path
    host: dict[str, Any]
    """The HostConfig of its containers."""

    def prepare(self) -> None:
        """Whatever must be there before a sample is taken."""

    def import_image(self) -> None:
        repository, _, tag = IMAGE.partition(":")
        query = f"fromSrc=-&repo={repository}&tag={tag}&changes=ENV%20PATH%3D/bin"
        self.engine.call("POST", f"/images/create?{query}", raw=busybox_layer())

    def create(self, *command: str, engine: Engine | None = None) -> str:
        return (engine or self.engine).create(IMAGE, *command, **self.host)

    def sleeper(self, engine: Engine | None = None) -> str:
        """A container that runs and does nothing."""
        identifier = self.create("sleep", "100000", engine=engine)
        (engine or self.engine).start(identifier)
        return identifier

    def environment(self, directory: Path) -> dict[str, str]:
        """For the docker CLI: this engine, and nobody's settings (*directory* is empty)."""
        return {**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(directory)}

    def command_line(self, *words: str) -> list[str]:
        """`docker run` and the options that make the container one of this peer."""
        return ["docker", "run", "--rm", *words]

    def way(self, identifier: str) -> str:
        """How the container came to be started; the same for all where there is one way only."""
        return ""

    def trace(self, identifier: str) -> dict[str, Any]:
        """What the engine itself tells of the start; empty where it tells nothing."""
        return {}

    def daemon_pids(self) -> list[int]:
        raise NotImplementedError

    def container_pids(self, identifier: str) -> list[int]:
        """All processes of the host that exist because of this container."""
        raise NotImplementedError

    def remove_all(self) -> None:
        for item in self.engine.list():
            self.engine.remove(item["Id"])
