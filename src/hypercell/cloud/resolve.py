# SPDX-License-Identifier: Apache-2.0
"""Fill in what a request leaves open: from the image, from the size class, from docker's defaults."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace

from hypercell.base.errors import InvalidArgument
from hypercell.base.sizes import DEFAULT_SIZE, size_named
from hypercell.cloud import health, signals
from hypercell.cloud.contract import ContainerRequest, Mounted, PublishedPort
from hypercell.cloud.cpusets import check_cpus
from hypercell.cloud.validate import MAX_PUBLISHED, check_labels, check_published_count, exposed_ports
from hypercell.images.contract import Image

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_STOP_TIMEOUT = 10
DEFAULT_SHM_SIZE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Resolved:
    """A request with nothing left open."""

    request: ContainerRequest
    image_id: str
    args: tuple[str, ...]
    env: tuple[str, ...]
    """As docker shows it: the user's, then the image's."""
    working_dir: str
    user: str
    stop_signal: str
    vcpus: int
    memory: int
    warnings: tuple[str, ...] = ()
    mounts: tuple[Mounted, ...] = ()
    """Its volumes."""


def resolve(request: ContainerRequest, image: Image, container_id: str, max_vcpus: int, there: int = 0) -> Resolved:
    """*there*: CPUs of the VM, if that is another's. Raises `InvalidArgument` for what the image or the machine cannot
    give."""
    config = image.config
    size = size_named(request.size) if request.size else DEFAULT_SIZE
    vcpus = -(-request.nano_cpus // 10**9) or size.vcpus
    if vcpus > max_vcpus:
        words = f"range of CPUs is from 0.01 to {max_vcpus}.00, as there are only {max_vcpus} CPUs available"
        raise InvalidArgument(words, "choose fewer CPUs or a smaller size")
    check_cpus(request.cpuset_cpus, there or vcpus)
    warnings = []
    if config.architecture not in ("", "amd64"):
        warnings.append(
            f"The requested image's platform ({config.os}/{config.architecture}) does not match the detected host "
            "platform (linux/amd64) and no specific platform was requested"
        )
    entrypoint, command = _command(request, image)
    labels = {**config.labels, **request.labels}
    check_labels(labels)
    exposed = _exposed(request, image, warnings)
    filled = replace(
        request,
        hostname=request.hostname or container_id[:12],
        labels=labels,
        env=_env(request.env, config.env),
        entrypoint=entrypoint,
        command=command,
        health=health.merged(request.health, health.of_image(config.healthcheck, warnings)),
        volumes=tuple(dict.fromkeys((*config.volumes, *request.volumes))),
        exposed=tuple(f"{port}/{protocol}" for port, protocol in exposed),
        shm_size=request.shm_size or DEFAULT_SHM_SIZE,
        size=size.name if request.size or not (request.memory or request.nano_cpus) else "",
        restart=replace(request.restart, name=request.restart.name or "no"),
        published=_published(request, exposed),
    )
    return Resolved(
        request=filled,
        image_id=image.id,
        args=(*(entrypoint or ()), *(command or ())),
        env=filled.env,
        working_dir=posixpath.join("/", request.working_dir or config.working_dir),
        user=request.user or config.user,
        stop_signal=_stop_signal(request, config.stop_signal, warnings),
        vcpus=vcpus,
        memory=request.memory or size.memory,
        warnings=tuple(warnings),
    )


def _command(request: ContainerRequest, image: Image) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """docker's rule: a new entrypoint, an empty one too, drops the image's command; a new command keeps the other."""
    entrypoint, command = request.entrypoint, request.command
    if entrypoint is None:
        entrypoint = image.config.entrypoint
        command = command or image.config.command
    args = (*(entrypoint or ()), *(command or ()))
    if not args:
        raise InvalidArgument("no command specified", "the image has none: give one")
    if not args[0]:
        raise InvalidArgument("the first word of the command is empty", "name a program")
    return entrypoint, command


def _env(own: tuple[str, ...], image: tuple[str, ...]) -> tuple[str, ...]:
    """The user's, then those of the image that the user did not name; of one name the last counts."""
    named = {entry.partition("=")[0] for entry in own}
    last = {entry.partition("=")[0]: entry for entry in own}
    return (
        *(entry for entry in last.values() if "=" in entry),
        *(entry for entry in image if entry.partition("=")[0] not in named and "=" in entry and "\0" not in entry),
    )


def process_env(env: tuple[str, ...], hostname: str, tty: bool) -> list[str]:
    """What the program gets: docker's own variables first, each replaced in its place by one of the same name."""
    found = {"PATH": PATH, "HOSTNAME": f"HOSTNAME={hostname}"}
    if tty:
        found["TERM"] = "TERM=xterm"
    for entry in env:
        name, equals, _ = entry.partition("=")
        if equals:
            found[name] = entry
        else:
            found.pop(name, None)
    return list(found.values())


def _exposed(request: ContainerRequest, image: Image, warnings: list[str]) -> list[tuple[int, str]]:
    """Each port by itself, the image's first. An image may expose half of all there are: it can be run, but not all of
    them are shown, and none is published."""
    found: list[tuple[int, str]] = []
    for entry in (*image.config.exposed_ports, *request.exposed):
        found += exposed_ports(entry)
        if len(found) > MAX_PUBLISHED:
            if request.publish_all:
                check_published_count(len(found))
            warnings.append(f"more than {MAX_PUBLISHED} ports are exposed: not all of them are shown")
            break
    return list(dict.fromkeys(found[:MAX_PUBLISHED]))


def _published(request: ContainerRequest, exposed: list[tuple[int, str]]) -> tuple[PublishedPort, ...]:
    chosen = [replace(port, host_ip=port.host_ip or "0.0.0.0") for port in request.published]  # noqa: S104
    if request.publish_all:
        named = {(port.container_port, port.protocol) for port in chosen}
        for port, protocol in exposed:
            if (port, protocol) not in named:
                chosen.append(PublishedPort(port, protocol, "0.0.0.0", 0))  # noqa: S104
        check_published_count(len(chosen))
    return tuple(chosen) if request.network != "none" else ()


def _stop_signal(request: ContainerRequest, image: str, warnings: list[str]) -> str:
    if request.stop_signal or not image:
        return request.stop_signal or "SIGTERM"
    try:
        signals.number(image)
    except InvalidArgument:
        warnings.append("the image's stop signal is none: SIGTERM is used")
        return "SIGTERM"
    return image
