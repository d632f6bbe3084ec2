# SPDX-License-Identifier: Apache-2.0
"""Images as lists, inspections and histories show them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hypercell.api.docker.times import parse_timestamp, rfc3339
from hypercell.api.http import Version
from hypercell.base.durations import SECOND
from hypercell.base.errors import Internal
from hypercell.images.contract import Image, ImageConfig

Json = dict[str, Any]
# Members that older clients expect even when they say nothing.
_BEFORE_1_50: Json = {
    "Hostname": "",
    "Domainname": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Tty": False,
    "Image": "",
}
_STAMP = re.compile(r"\d{4}-\d{2}-\d{2}T[\d:.]+(?:Z|[+-]\d{2}:\d{2})", re.ASCII)


def is_step(image: Image) -> bool:
    """Of a build: who lists images does not ask for it."""
    return not image.tags and image.has_children


def shared_sizes(images: Collection[Image]) -> dict[str, int]:
    """By id, how much of each is others' too: all of its one file, which images of the same layers share, or none."""
    owners = Counter(image.diff_ids for image in images)
    return {image.id: image.size if owners[image.diff_ids] > 1 else 0 for image in images}


def summary_json(image: Image, version: Version, containers: int, shared: int = -1) -> Json:
    """*shared*: see `shared_sizes`; -1, as in docker, where nobody asked for it."""
    names = list(image.tags), list(image.digests)
    if version < (1, 43) and not any(names):
        names = ["<none>:<none>"], ["<none>@<none>"]
    document: Json = {
        "Containers": containers if version >= (1, 51) else -1,
        "Created": image.created_ns // SECOND,
        "Id": image.id,
        "Labels": dict(image.config.labels) or None,
        "ParentId": image.parent,
        "RepoDigests": names[1],
        "RepoTags": names[0],
        "SharedSize": shared,
        "Size": image.size,
    }
    if version < (1, 44):
        document["VirtualSize"] = image.size
    return document


def inspect_json(image: Image, version: Version) -> Json:
    config = image.config
    document: Json = {
        "Id": image.id,
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.digests),
        "Parent": image.parent,
        "Comment": _text(config.history[-1], "comment") if config.history else "",
        "DockerVersion": _text(config.raw, "docker_version"),
        "Author": config.author,
        "Config": config_json(config, version),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size,
        "GraphDriver": {"Name": "erofs", "Data": {}},
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
        "Metadata": {"LastTagTime": rfc3339(image.last_tagged_ns)},
    }
    if config.created:
        document["Created"] = config.created
    if config.variant:
        document["Variant"] = config.variant
    if version < (1, 44):
        document["VirtualSize"] = image.size
        document.setdefault("Created", rfc3339(0))
    return document


def config_json(config: ImageConfig, version: Version) -> Json:
    document: Json = {
        "User": config.user,
        "Env": list(config.env) or None,
        "Cmd": _words(config.command),
        "Entrypoint": _words(config.entrypoint),
        "Volumes": {path: {} for path in config.volumes} or None,
        "WorkingDir": config.working_dir,
        "Labels": dict(config.labels) or None,
        "OnBuild": _on_build(config.raw),
    }
    if config.exposed_ports:
        document["ExposedPorts"] = {port: {} for port in config.exposed_ports}
    if config.stop_signal:
        document["StopSignal"] = config.stop_signal
    if config.shell:
        document["Shell"] = list(config.shell)
    if config.healthcheck:
        document["Healthcheck"] = dict(config.healthcheck)
    return _BEFORE_1_50 | document if version < (1, 50) else document


def history_json(family: Sequence[Image], layer_sizes: Sequence[int]) -> list[Json]:
    """Newest first. *family*: the image and those that it was made of here, nearest first, of which each step that is
    still here has its id. *layer_sizes*: lowest first."""
    image = family[0]
    known = layer_sizes if len(image.diff_ids) > 1 else [image.size]
    sizes = iter(known)
    entries: list[Json] = []
    for step in image.config.history:
        size = 0 if step.get("empty_layer") is True else next(sizes, None)
        if size is None:
            raise Internal("too many non-empty layers in History section", "the image's config is wrong")
        entries.append(
            {
                "Id": "<missing>",
                "Created": _created(step),
                "CreatedBy": _text(step, "created_by"),
                "Tags": None,
                "Size": size,
                "Comment": _text(step, "comment"),
            }
        )
    entries.reverse()
    for entry, member in zip(entries, family, strict=False):
        entry |= {"Id": member.id, "Tags": list(member.tags) or None}
    return entries


def _created(step: Mapping[str, Any]) -> int:
    text = _text(step, "created")
    if not _STAMP.fullmatch(text):
        return 0
    return parse_timestamp(text[:19] + "Z", "created") // SECOND


def _words(words: tuple[str, ...] | None) -> list[str] | None:
    return list(words) if words is not None else None


def _on_build(raw: Mapping[str, Any]) -> list[str] | None:
    config = raw.get("config")
    steps = config.get("OnBuild") if isinstance(config, Mapping) else None
    return [str(step) for step in steps] if isinstance(steps, list | tuple) and steps else None


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""
