# SPDX-License-Identifier: Apache-2.0
"""The little languages of docker's options: sizes, ports, environment files, ulimits. Errors are usage errors."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hypercell.base.digits import is_digits
from hypercell.base.quantities import bytes_in


def memory(text: str) -> int:
    """`512m` -> bytes."""
    try:
        return bytes_in(text.strip())
    except ValueError:
        raise click.UsageError(f"invalid size {text!r}: write it as 512m or 2g") from None


def environment(values: tuple[str, ...], files: tuple[str, ...]) -> list[str]:
    """Files first, then options; a bare NAME takes its value from our environment, if it has one."""
    result: list[str] = []
    for file in files:
        try:
            lines = Path(file).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"cannot read {file}: {error}") from error
        for line in lines:
            if line.strip() and not line.lstrip().startswith("#"):
                result += _variable(line.lstrip())
    for value in values:
        result += _variable(value)
    return result


def _variable(text: str) -> list[str]:
    name, equals, _ = text.partition("=")
    if not name or any(character.isspace() for character in name):
        raise click.UsageError(f"invalid environment variable {text!r}: write it as NAME=value")
    if equals:
        return [text]
    return [f"{name}={os.environ[name]}"] if name in os.environ else []


def pairs(values: tuple[str, ...]) -> dict[str, str]:
    return {value.partition("=")[0]: value.partition("=")[2] for value in values}


def ports(values: tuple[str, ...]) -> tuple[dict[str, object], dict[str, list[dict[str, str]]]]:
    """`[[ip:]host:]container[/proto]`, ranges too -> (ExposedPorts, PortBindings)."""
    exposed: dict[str, object] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for value in values:
        spec, _, protocol = value.partition("/")
        head, _, container = spec.rpartition(":")
        address, _, host = head.rpartition(":") if head else ("", "", "")
        if address.startswith("["):
            address = address.strip("[]")
        elif ":" in address:
            raise click.UsageError(f"invalid port {value!r}: write an IPv6 address in brackets")
        inside, outside = _range(container, value), _range(host, value) if host else None
        if outside is not None and len(outside) != len(inside):
            raise click.UsageError(f"invalid port {value!r}: the two ranges differ in length")
        for at, number in enumerate(inside):
            key = f"{number}/{protocol or 'tcp'}"
            exposed[key] = {}
            target = str(outside[at]) if outside is not None else ""
            bindings.setdefault(key, []).append({"HostIp": address, "HostPort": target})
    return exposed, bindings


def _range(text: str, whole: str) -> range:
    first, dash, last = text.partition("-")
    if not is_digits(first) or (dash and not is_digits(last)):
        raise click.UsageError(f"invalid port {whole!r}: write it as 8080:80 or 127.0.0.1:8080:80/tcp")
    start, stop = int(first), int(last) if dash else int(first)
    if not 0 < start <= stop <= 65535:
        raise click.UsageError(f"invalid port {whole!r}: ports are 1 to 65535")
    return range(start, stop + 1)


def ulimits(values: tuple[str, ...]) -> list[dict[str, object]]:
    """`nofile=1024:2048`."""
    result: list[dict[str, object]] = []
    for value in values:
        name, _, limits = value.partition("=")
        soft, _, hard = limits.partition(":")
        hard = hard or soft
        if not (is_digits(soft.removeprefix("-")) and is_digits(hard.removeprefix("-"))):
            raise click.UsageError(f"invalid ulimit {value!r}: write it as nofile=1024:2048")
        result.append({"Name": name, "Soft": int(soft), "Hard": int(hard)})
    return result


def restart_policy(text: str) -> dict[str, object]:
    name, _, count = text.partition(":")
    if name not in ("", "no", "always", "on-failure", "unless-stopped") or (count and not is_digits(count)):
        raise click.UsageError(f"invalid restart policy {text!r}: no, always, unless-stopped or on-failure[:max]")
    return {"Name": name or "no", "MaximumRetryCount": int(count or 0)}


def name_and_tag(image: str) -> tuple[str, str]:
    """(`localhost:5000/box`, `1`) of `localhost:5000/box:1`; the tag is empty where there is none."""
    if ":" not in image.rsplit("/", 1)[-1]:
        return image, ""
    name, _, tag = image.rpartition(":")
    return name, tag
