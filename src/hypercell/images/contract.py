# SPDX-License-Identifier: Apache-2.0
"""What the house asks of images: types and the store's interface. `images.open_store` makes the real one."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The OCI image config (image-spec `config.md`), validated: types and sizes are what they should be."""

    architecture: str
    os: str
    created: str
    """RFC 3339, or empty."""
    author: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    user: str = ""
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    variant: str = ""
    shell: tuple[str, ...] | None = None
    healthcheck: Mapping[str, Any] | None = None
    history: tuple[Mapping[str, Any], ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    id: str
    """`sha256:` + digest of the config blob."""
    config: ImageConfig
    diff_ids: tuple[str, ...]
    chain_id: str
    tags: tuple[str, ...]
    """Familiar names with tag: `busybox:latest`, `localhost:5000/x:1`."""
    digests: tuple[str, ...]
    """`name@sha256:…` for what came from a registry."""
    size: int
    """Bytes of the unpacked content."""
    created_ns: int
    last_tagged_ns: int
    parent: str = ""
    """Id of the image that it was made of here, if that is still here."""
    has_children: bool = False
    """Others were made of it here."""

    @property
    def dangling(self) -> bool:
        """Nothing names it, and nothing was made of it."""
        return not self.tags and not self.has_children


@dataclass(frozen=True, slots=True)
class RootImage:
    path: Path
    """The merged, read-only EROFS file of the chain; mode 0444."""
    chain_id: str
    size: int
    """Bytes that it takes on the disk. The file's own length says nothing: a VM's disk slot makes it longer."""


@dataclass(frozen=True, slots=True)
class Revision:
    """What an image says that is made of another."""

    config: Mapping[str, Any]
    """The `config` object of the image config."""
    created_by: str = ""
    comment: str = ""
    author: str = ""
    created: str = ""
    """RFC 3339; empty: now."""
    step: str = ""
    """What made it, for `Images.made_by`."""


@dataclass(frozen=True, slots=True)
class Credentials:
    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    server_address: str = ""


@dataclass(frozen=True, slots=True)
class Pushed:
    """A tag as a registry has it now."""

    tag: str
    digest: str
    size: int
    """Bytes of the manifest."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of progress; a door renders it (docker: `{"status","id","progressDetail"}`)."""

    status: str
    """docker's words: `Pulling fs layer`, `Downloading`, `Verifying Checksum`, `Download complete`, `Extracting`,
    `Pull complete`, …"""
    id: str = ""
    current: int = 0
    total: int = 0
    pushed: Pushed | None = None
    """What a line in words has just said, for programs."""


ProgressSink = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a name stands for in its registry."""

    media_type: str
    digest: str
    size: int
    platforms: tuple[Mapping[str, Any], ...]
    """Objects of the OCI image-spec's `platform`, as the registry tells them."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    name: str
    description: str
    stars: int
    official: bool


class Registries(Protocol):
    """What is asked of registries without an image being fetched. Errors: `InvalidArgument`, `NotFound`,
    `Unauthorized`, `Unavailable`."""

    async def login(self, credentials: Credentials) -> str:
        """Have `credentials.server_address` check them; empty, or a token to keep instead of the password."""

    async def inspect(self, reference: str, credentials: Credentials | None) -> Distribution: ...

    async def search(self, term: str, limit: int, credentials: Credentials | None) -> builtins.list[SearchResult]:
        """*term* may begin with a registry, as names of images do. `HypercellError` (500) for one that has no
        search, as nearly all."""


class Images(Protocol):
    """References are familiar names (`busybox`), tags, digests, ids or unique id prefixes. Errors: `NotFound`
    (`No such image: x`), `InvalidArgument` (bad reference, malformed image), `Conflict` (in use), `Unauthorized`,
    `Unavailable` (registry does not answer), `NoSpace`. Images belong to a tenant; blobs and chains are shared
    underneath."""

    async def pull(
        self, tenant: str, reference: str, platform: str, credentials: Credentials | None, progress: ProgressSink
    ) -> Image: ...

    async def load(
        self, tenant: str, archive: AsyncIterator[bytes], progress: ProgressSink
    ) -> builtins.list[tuple[Image, str]]:
        """docker archive, OCI archive (tar, or gzip/zstd of one): [(image, tag or '')]."""

    async def import_root(
        self,
        tenant: str,
        archive: AsyncIterator[bytes],
        repository: str,
        tag: str,
        message: str,
        changes: builtins.list[str],
        platform: str = "",
    ) -> Image:
        """A plain root tar becomes an image of one layer; `changes` are Dockerfile instructions (CMD, ENV, …)."""

    async def commit(
        self,
        tenant: str,
        parent: str,
        layer: AsyncIterator[bytes] | None,
        revision: Revision,
        repository: str = "",
        tag: str = "",
    ) -> Image:
        """*parent* (empty: nothing) with one more layer: a tar as the guest writes it, or None. Close that."""

    async def made_by(self, tenant: str, parent: str, step: str) -> Image | None:
        """The newest image that this step made of this parent."""

    async def push(self, tenant: str, reference: str, credentials: Credentials | None, progress: ProgressSink) -> None:
        """To the registry that the name gives: one tag, or all tags of a bare repository name. Errors, besides:
        `Forbidden`."""

    def save(self, tenant: str, references: builtins.list[str]) -> AsyncIterator[bytes]:
        """A tar that is both a docker archive (manifest.json) and an OCI layout."""

    async def list(self, tenant: str) -> builtins.list[Image]: ...
    async def get(self, tenant: str, reference: str) -> Image: ...
    async def layer_sizes(self, tenant: str, image_id: str) -> builtins.list[int]:
        """Bytes that each layer takes unpacked, lowest first; 0 for one that was read before this was counted."""

    async def tag(self, tenant: str, reference: str, repository: str, tag: str) -> None: ...

    async def remove(
        self, tenant: str, reference: str, force: bool = False, prune: bool = True
    ) -> builtins.list[tuple[str, str]]:
        """[("untagged", name), ("deleted", digest)…]. `Conflict` when a container uses it or several tags name it."""

    async def prune(self, tenant: str, keep: Callable[[Image], bool]) -> tuple[builtins.list[tuple[str, str]], int]: ...

    async def prune_steps(
        self, tenant: str, everything: bool, keep: Callable[[Image], bool]
    ) -> tuple[builtins.list[tuple[str, str]], int]:
        """The nameless images that steps of builds made; without *everything*, none that others were made of and that
        would be found again by a build of these."""

    async def root(self, image_id: str) -> RootImage:
        """The merged root file of an image that is here; built on the spot if it was lost."""

    async def disk_usage(self) -> int:
        """Bytes on disk of blobs and chains."""

    in_use: Callable[[str], builtins.list[str]]
    """Set by the cloud: ids of containers (any tenant) that use an image id."""
    runs: Callable[[str], bool]
    """Set by the cloud: whether the container of such an id runs."""
