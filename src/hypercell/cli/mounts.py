# SPDX-License-Identifier: Apache-2.0
"""`--volume`, `--mount` and `--volumes-from` of `run` and `create`, as the API takes them. Errors are usage errors."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hypercell.cli import parse

Json = dict[str, Any]
OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "-v",
        "--volume",
        multiple=True,
        metavar="[NAME|DIR:]PATH[:ro]",
        help="Mount a volume (see `volume`) or a directory of the daemon's machine.",
    ),
    click.option(
        "--mount", multiple=True, metavar="KEY=VALUE,…", help="type=volume|bind|tmpfs,src=NAME,dst=PATH,readonly,…"
    ),
    click.option("--volumes-from", multiple=True, metavar="CONTAINER[:ro]", help="Mount another container's volumes."),
)
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_FLAGS = ("readonly", "volume-nocopy", "bind-nonrecursive")


def volumes(options: Json) -> tuple[Json, Json]:
    """Members of the request: its own, and those of `HostConfig`."""
    binds = [value for value in options["volume"] if ":" in value]
    own: Json = {value: {} for value in options["volume"] if ":" not in value}
    host = {
        "Binds": [_absolute(bind) for bind in binds] or None,
        "Mounts": [_mount(text) for text in options["mount"]] or None,
        "VolumesFrom": list(options["volumes_from"]) or None,
    }
    return ({"Volumes": own} if own else {}), host


def _absolute(bind: str) -> str:
    """A relative path is one of ours; the daemon knows no other directory than its own."""
    source, colon, rest = bind.partition(":")
    if source in (".", "..") or source.startswith(("./", "../")):
        source = str(Path(source).absolute())
    return f"{source}{colon}{rest}"


def _mount(text: str) -> Json:
    """`type=volume,src=data,dst=/data,readonly`."""
    mount: Json = {"Type": "volume"}
    labels, options = [], []
    for field in next(csv.reader([text])):
        key, equals, value = field.partition("=")
        key = _ALIASES.get(key.strip().lower(), key.strip().lower())
        if key in _FLAGS:
            value = value if equals else "true"
        elif not equals:
            raise click.UsageError(f"invalid field {field!r} in --mount: write it as key=value")
        match key:
            case "type":
                mount["Type"] = value.lower()
            case "source" | "target" | "consistency":
                mount[key.capitalize()] = value
            case "readonly":
                mount["ReadOnly"] = _truth(key, value)
            case "volume-nocopy":
                mount.setdefault("VolumeOptions", {})["NoCopy"] = _truth(key, value)
            case "bind-propagation":
                mount.setdefault("BindOptions", {})["Propagation"] = value
            case "bind-nonrecursive":
                mount.setdefault("BindOptions", {})["NonRecursive"] = _truth(key, value)
            case "bind-recursive":
                mount.setdefault("BindOptions", {}).update(_recursion(value))
            case "volume-subpath":
                mount.setdefault("VolumeOptions", {})["Subpath"] = value
            case "volume-label":
                labels.append(value)
            case "volume-driver":
                _driver(mount)["Name"] = value
            case "volume-opt":
                options.append(value)
            case "tmpfs-size":
                mount.setdefault("TmpfsOptions", {})["SizeBytes"] = parse.memory(value)
            case "tmpfs-mode":
                mount.setdefault("TmpfsOptions", {})["Mode"] = _octal(value)
            case _:
                raise click.UsageError(f"unexpected key {key!r} in --mount: such as type=volume,src=data,dst=/data")
    if labels:
        mount.setdefault("VolumeOptions", {})["Labels"] = parse.pairs(tuple(labels))
    if options:
        _driver(mount)["Options"] = parse.pairs(tuple(options))
    if not mount.get("Target"):
        raise click.UsageError("target is required in --mount: such as type=volume,src=data,dst=/data")
    return mount


def _driver(mount: Json) -> Json:
    driver: Json = mount.setdefault("VolumeOptions", {}).setdefault("DriverConfig", {})
    return driver


def _recursion(value: str) -> Json:
    """docker's words for what becomes of mounts below."""
    known: Json = {
        "enabled": {},
        "disabled": {"NonRecursive": True},
        "writable": {"ReadOnlyNonRecursive": True},
        "readonly": {"ReadOnlyForceRecursive": True},
    }
    if value not in known:
        raise click.UsageError(f"invalid value for bind-recursive in --mount: {value!r} is none of {', '.join(known)}")
    return dict(known[value])


def _truth(key: str, value: str) -> bool:
    if value.lower() not in ("true", "1", "false", "0"):
        raise click.UsageError(f"invalid value for {key} in --mount: {value!r} is neither true nor false")
    return value.lower() in ("true", "1")


def _octal(value: str) -> int:
    try:
        return int(value, 8)
    except ValueError:
        raise click.UsageError(f"invalid value for tmpfs-mode in --mount: {value!r} is no octal number") from None
