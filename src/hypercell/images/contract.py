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
class CachedStep:
    """A nameless image that a step of a build made, which no container and no build uses now."""

    image: Image
    used_ns: int
    """When a build last made it or took it from the cache."""
    shared: bool
    """An image that is not in the cache was made of it."""


@dataclass(frozen=True, slots=True)
class Room:
    """How much of the cache of builds is to stay, in bytes of the disk; 0 says nothing."""

    reserved: int = 0
    """So much may always stay."""
    most: int = 0
    """No more than this."""
    free: int = 0
    """No more than leaves so much of the disk free."""

    def keep(self, used: int, free: int) -> int | None:
        """How much of what is *used* may stay, with *free* bytes free now; None: nothing need stay."""
        if not (self.reserved or self.most or self.free):
            return None
        lacking = max(self.free - free, 0) if self.free else 0
        if self.free and not lacking and not self.most:
            return used
        stays = min(self.most or used, used - lacking) if lacking else self.most
        stays = max(stays, self.reserved)
        return stays if stays > 0 else None


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

    async def pull_all(
        self, tenant: str, repository: str, platform: str, credentials: Credentials | None, progress: ProgressSink
    ) -> builtins.list[Image]:
        """All tags of a repository, one after the other. What came before a failure stays."""

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
        self, tenant: str, wanted: Callable[[CachedStep], bool], room: Room
    ) -> tuple[builtins.list[tuple[str, str]], int]:
        """Of the cache of builds what is *wanted*, the least recently used first, until no more is there than *room*
        says. None goes before what was made of it in the cache. What went, as of `remove`, and the bytes freed."""

    async def root(self, image_id: str) -> RootImage:
        """The merged root file of an image that is here; built on the spot if it was lost."""

    async def disk_usage(self) -> int:
        """Bytes on disk of blobs and chains."""

    in_use: Callable[[str], builtins.list[str]]
    """Set by the cloud: ids of containers (any tenant) that use an image id."""
    runs: Callable[[str], bool]
    """Set by the cloud: whether the container of such an id runs."""
