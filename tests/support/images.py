# SPDX-License-Identifier: Apache-2.0
"""Small images made by hand: layers from a dictionary, manifests, indexes, OCI layouts. Nothing but bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from backports import zstd

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
BUSYBOX = Path("/usr/bin/busybox")
"""Debian's busybox-static."""
APPLETS = """
    sh ls cat echo true false sleep ps id env stat touch mkdir rm ln mount umount df dd head tail wc uname hostname ip
    ping wget nc nslookup vi grep sed awk date kill seq sort tr yes stty tty top free find chmod chown cp mv sync test
    printf md5sum sha256sum od xargs timeout readlink dmesg ulimit nproc pwd tee printenv whoami
"""


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def tar(files: dict[str, bytes | str | None]) -> bytes:
    """A tar: bytes make a file (executable under bin/), a string a symlink, None a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755 if content is None or name.startswith("bin/") else 0o644
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def compress(data: bytes, compression: str) -> bytes:
    match compression:
        case "gzip":
            return gzip.compress(data, 6, mtime=0)
        case "zstd":
            return zstd.compress(data)
        case _:
            return data


@dataclass
class Image:
    """One image for one platform, every document and blob of it as bytes."""

    layers: list[bytes]
    """Uncompressed tars, lowest first."""
    run: dict[str, Any] = field(default_factory=dict)
    """The `config` object of the image config."""
    compression: str = "gzip"
    docker: bool = False
    """docker's media types instead of OCI's."""
    architecture: str = "amd64"
    variant: str = ""
    created: str = "2024-02-03T04:05:06.789Z"
    config_extra: dict[str, Any] = field(default_factory=dict)
    manifest_extra: dict[str, Any] = field(default_factory=dict)

    @property
    def platform(self) -> dict[str, str]:
        platform = {"os": "linux", "architecture": self.architecture}
        return {**platform, "variant": self.variant} if self.variant else platform

    @property
    def config(self) -> bytes:
        return compact(
            {
                "created": self.created,
                **self.platform,
                "config": self.run,
                "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in self.layers]},
                "history": [{"created": self.created, "created_by": "by hand"} for _ in self.layers],
                **self.config_extra,
            }
        )

    @property
    def id(self) -> str:
        return sha256(self.config)

    @property
    def layer_blobs(self) -> list[bytes]:
        return [compress(layer, self.compression) for layer in self.layers]

    @property
    def media_type(self) -> str:
        return f"{DOCKER}.distribution.manifest.v2+json" if self.docker else f"{OCI}.manifest.v1+json"

    def _layer_type(self) -> str:
        base = f"{DOCKER}.image.rootfs.diff.tar" if self.docker else f"{OCI}.layer.v1.tar"
        if self.compression == "none":
            return base
        return base + ("." if self.docker else "+") + self.compression

    @property
    def manifest(self) -> bytes:
        config_type = f"{DOCKER}.container.image.v1+json" if self.docker else f"{OCI}.config.v1+json"
        return compact(
            {
                "schemaVersion": 2,
                "mediaType": self.media_type,
                "config": descriptor(config_type, self.config),
                "layers": [descriptor(self._layer_type(), blob) for blob in self.layer_blobs],
                **self.manifest_extra,
            }
        )

    @property
    def blobs(self) -> dict[str, bytes]:
        return {sha256(blob): blob for blob in (self.config, *self.layer_blobs)}


def descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}


@dataclass
class Index:
    """One name for images of several platforms."""

    images: list[Image]
    docker: bool = False

    @property
    def media_type(self) -> str:
        return f"{DOCKER}.distribution.manifest.list.v2+json" if self.docker else f"{OCI}.index.v1+json"

    @property
    def manifest(self) -> bytes:
        entries = [
            {**descriptor(image.media_type, image.manifest), "platform": image.platform} for image in self.images
        ]
        return compact({"schemaVersion": 2, "mediaType": self.media_type, "manifests": entries})


@cache
def busybox_layer() -> bytes:
    """busybox with a symlink per applet that a test of containers wants, and the directories that a root has."""
    directories = ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var", "var/www")
    files: dict[str, bytes | str | None] = dict.fromkeys(directories)
    files["bin/busybox"] = BUSYBOX.read_bytes()
    files.update({f"bin/{applet}": "busybox" for applet in APPLETS.split()})
    files["etc/passwd"] = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
    files["etc/group"] = b"root:x:0:\nnogroup:x:65534:\n"
    return tar(files)


def busybox(**options: Any) -> Image:
    """An image that runs: busybox with `sh` for a command."""
    run = {"Env": ["PATH=/bin"], "Cmd": ["sh"], **options.pop("run", {})}
    return Image([busybox_layer()], run, **options)


def write_layout(directory: Path, images: dict[str, Image | Index]) -> Path:
    """An OCI layout at *directory*; keys are the names in its annotations."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (directory / "oci-layout").write_bytes(compact({"imageLayoutVersion": "1.0.0"}))
    entries = []
    for name, image in images.items():
        for data in documents_and_blobs(image):
            (blobs / sha256(data).removeprefix("sha256:")).write_bytes(data)
        entry = descriptor(image.media_type, image.manifest)
        entries.append({**entry, "annotations": {"org.opencontainers.image.ref.name": name}} if name else entry)
    index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": entries}
    (directory / "index.json").write_bytes(compact(index))
    return directory


def documents_and_blobs(image: Image | Index) -> list[bytes]:
    """Everything that *image* consists of, itself last."""
    if isinstance(image, Index):
        return [data for part in image.images for data in documents_and_blobs(part)] + [image.manifest]
    return [*image.blobs.values(), image.manifest]
