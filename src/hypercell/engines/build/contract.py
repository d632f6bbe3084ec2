# SPDX-License-Identifier: Apache-2.0
"""What a door asks of a build: the request in one normalised form, and where what happens is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hypercell.base.errors import HypercellError
from hypercell.cloud.contract import Ulimit
from hypercell.images.contract import Credentials
from hypercell.images.contract import Progress as PullProgress


@dataclass(frozen=True, slots=True)
class BuildRequest:
    dockerfile: str = ""
    """Its path in the context; empty: `Dockerfile`."""
    tags: tuple[tuple[str, str], ...] = ()
    """(repository, tag)."""
    arguments: Mapping[str, str | None] = field(default_factory=dict)
    """Of `--build-arg`; None: named without a value."""
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    no_cache: bool = False
    pull: bool = False
    quiet: bool = False
    remove: bool = True
    """Say that intermediate containers are removed. They are, whatever is asked for."""
    platform: str = ""
    memory: int = 0
    nano_cpus: int = 0
    cpu_shares: int = 0
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    network: str = "bridge"
    extra_hosts: tuple[str, ...] = ()
    credentials: Mapping[str, Credentials] = field(default_factory=dict)
    """By registry."""


class BuildFailed(HypercellError):
    """A command of a Dockerfile ended with another code than 0."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Progress(Protocol):
    """Where a build tells how it goes. Slow readers slow the build."""

    async def say(self, text: str) -> None:
        """Words of the build itself and output of its programs."""

    async def complain(self, text: str) -> None:
        """What programs write to their standard error, and warnings."""

    async def made(self, image_id: str) -> None:
        """A stage is complete."""

    def pulling(self, step: PullProgress) -> None:
        """A pull is under way."""


class Builds(Protocol):
    async def build(self, tenant: str, request: BuildRequest, context: AsyncIterator[bytes], progress: Progress) -> str:
        """The id of the image. *context* is a tar, compressed or not. Calling it off leaves nothing but images without
        a name. Raises `BuildFailed`, `InvalidArgument`, `Unsupported`, and what starts of containers and pulls do."""
