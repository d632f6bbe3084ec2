# SPDX-License-Identifier: Apache-2.0
"""The image config (OCI image-spec `config.md`) as a validated `ImageConfig`.

What names a user, a path or a variable is still the image's word: the guest resolves it. Here it only gets its
type, and loses what has no meaning in any image: NUL bytes, paths that climb, a volume over the whole root.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from hypercell.base.errors import InvalidArgument
from hypercell.images import digests, manifest, platforms
from hypercell.images.contract import ImageConfig
from hypercell.images.digests import Digest
from hypercell.images.documents import Fields, parse_object
from hypercell.images.platforms import Platform

_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?")
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)", re.ASCII)
MAX_HISTORY = 10_000


@dataclass(frozen=True, slots=True)
class ParsedConfig:
    config: ImageConfig
    diff_ids: tuple[Digest, ...]
    """Of the uncompressed layers, lowest first."""

    @property
    def platform(self) -> Platform:
        return platforms.normalise(self.config.os, self.config.architecture, self.config.variant)


def parse(data: bytes) -> ParsedConfig:
    """The config in *data*. Raises `InvalidArgument` that says which field is wrong."""
    fields = Fields(parse_object(data, "image config"), "image config")
    if "config" in fields.values and "layers" in fields.values:
        raise InvalidArgument("image config: this is a manifest")
    root = fields.child("rootfs")
    if root.text("type") != "layers":
        raise InvalidArgument(f"image config: rootfs of type {root.text('type')!r} is not supported")
    diff_ids = tuple(digests.parse(item, "diff id") for item in root.strings("diff_ids") or ())
    if not 1 <= len(diff_ids) <= manifest.MAX_LAYERS:
        raise InvalidArgument(f"image config: {len(diff_ids)} layers; between 1 and {manifest.MAX_LAYERS} can be run")
    run = Fields(fields.mapping("config"), "image config: config")
    return ParsedConfig(_image_config(fields, run), diff_ids)


def _image_config(fields: Fields, run: Fields) -> ImageConfig:
    created = fields.text("created")
    return ImageConfig(
        architecture=_word(fields, "architecture"),
        os=_word(fields, "os"),
        variant=fields.text("variant"),
        created=created if _TIME.fullmatch(created) else "",
        author=_plain(fields.text("author"), "author"),
        env=_env(run.strings("Env") or ()),
        entrypoint=_arguments(run, "Entrypoint"),
        command=_arguments(run, "Cmd"),
        shell=_arguments(run, "Shell"),
        user=_plain(run.text("User"), "User"),
        working_dir=clean_path(_plain(run.text("WorkingDir"), "WorkingDir")) if run.text("WorkingDir") else "",
        labels=_labels(run.string_mapping("Labels")),
        exposed_ports=tuple(sorted(port(item) for item in run.mapping("ExposedPorts"))),
        volumes=tuple(sorted({volume(item) for item in run.mapping("Volumes")})),
        stop_signal=_plain(run.text("StopSignal"), "StopSignal"),
        healthcheck=run.mapping("Healthcheck") or None,
        history=tuple(entry.values for entry in fields.children("history", MAX_HISTORY)),
        raw=fields.values,
    )


def _word(fields: Fields, key: str) -> str:
    value = fields.text(key)
    if not value or len(value) > 64 or not value.isprintable():
        raise fields.wrong(key, "a short word")
    return value


def _plain(text: str, what: str) -> str:
    if "\0" in text:
        raise InvalidArgument(f"image config: {what} holds a NUL byte")
    return text


def _arguments(fields: Fields, key: str) -> tuple[str, ...] | None:
    """None when absent or empty: both mean "none" in a config."""
    values = fields.strings(key)
    return tuple(_plain(item, key) for item in values) if values else None


def _env(entries: Iterable[str]) -> tuple[str, ...]:
    """`NAME=value` each. A value may have newlines (certificates do); a name may not, and nothing may hold a NUL."""
    for entry in entries:
        name, equals, _ = _plain(entry, "Env").partition("=")
        if not equals or not name or not name.isprintable():
            raise InvalidArgument(f"image config: Env {entry[:100]!r} is not NAME=value")
    return tuple(entries)


def _labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    for key, value in labels.items():
        _plain(key + value, "Labels")
    return labels


def clean_path(path: str) -> str:
    """*path* as an absolute one without `.` and `..`, which stop at the root."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def volume(path: str) -> str:
    """The mount point of a volume. Raises `InvalidArgument` for the root itself."""
    cleaned = clean_path(_plain(path, "Volumes"))
    if cleaned == "/":
        raise InvalidArgument(f"image config: the volume {path!r} would cover the whole root")
    return cleaned


def port(text: str) -> str:
    """`80` or `80/udp` or `8000-8010/tcp`, with its protocol written out."""
    match = _PORT.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= int(match[2] or match[1]) <= 65535:
        raise InvalidArgument(f"image config: {text[:50]!r} is not a port")
    return text if match[3] else f"{text}/tcp"


def created_ns(created: str) -> int:
    """RFC 3339 as nanoseconds since 1970; 0 for what is no time."""
    match = _TIME.fullmatch(created)
    if match is None:
        return 0
    try:
        seconds = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return 0
    return int(seconds) * 10**9 + int((match[2] or "").ljust(9, "0"))


def match_layers(parsed: ParsedConfig, layers: int) -> None:
    """Raises `InvalidArgument` unless the manifest's *layers* and the config's diff ids are as many."""
    if layers != len(parsed.diff_ids):
        raise InvalidArgument(f"the manifest has {layers} layers, the image config {len(parsed.diff_ids)}")
