# SPDX-License-Identifier: Apache-2.0
"""What a pod and a container are made of: fixed at creation, kept as JSON in the database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypercell.base.typed import build, text
from hypercell.node.health import HealthCheck
from hypercell.node.network import PublishedPort
from hypercell.node.types import LogSpec, RestartPolicy

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PodVolume:
    """A volume's disk in a VM."""

    volume: str
    """Its id."""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class PodBind:
    """A file or directory of the host that a VM sees."""

    path: str
    read_only: bool = False
    make: bool = False
    """A directory, if there is nothing when the VM starts."""
    recursive: bool = True
    """With what is mounted below it."""


@dataclass(frozen=True, slots=True)
class PodSpec:
    """One VM."""

    vcpus: int
    memory: int
    """Bytes that its containers may use; the guest kernel's own share comes on top."""
    cpu_quota: float
    """Host CPU time it may use, in cores (0: as much as its vCPUs can)."""
    hostname: str
    publish: tuple[PublishedPort, ...]
    disk_size: int
    """Bytes of the writable layer's file system."""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """Of the VM itself, `net.…`: its containers share its network."""
    isolation: str = ""
    """`shared`, `cold`, or empty: whatever the operator gives."""
    volumes: tuple[PodVolume, ...] = ()
    """Each once."""
    binds: tuple[PodBind, ...] = ()
    """The guest knows them by their numbers."""


@dataclass(frozen=True, slots=True)
class Membership:
    """What a container brings along that lives in the VM of another's pod. One with a pod of its own says it there."""

    of: str
    """Id of the container whose namespaces it joins, which may be a member itself."""
    joins: tuple[str, ...]
    """Of `network`, `pid` and `ipc` those that were asked for."""
    disk_size: int
    """Bytes of the writable layer's file system."""
    volumes: tuple[PodVolume, ...] = ()
    """Each once."""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container of a pod."""

    image_id: str
    oci: Json
    """The OCI runtime-spec `config.json`, whole: the node passes it on and reads only `process.args`."""
    files: tuple[Json, ...]
    """`{"path", "data" (base64), "mode", "uid", "gid"}`, as the agent's `container.create` wants them."""
    stop_signal: int
    stop_timeout: int
    """Seconds; negative: for ever."""
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    init: bool = False
    """Run under the guest's tiny init, which reaps orphans and passes signals on."""
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    auto_remove: bool = False
    health: HealthCheck | None = None
    log: LogSpec = field(default_factory=LogSpec)
    own_volumes: tuple[str, ...] = ()
    """Ids of those that nobody named: they may go with it."""
    member: Membership | None = None
    """None: its pod is its own."""

    @property
    def args(self) -> list[str]:
        return list(self.oci["process"]["args"])


def dump(spec: PodSpec | ContainerSpec) -> str:
    return text(spec)


def load_pod(stored: str) -> PodSpec:
    """Raises `ValueError`, as the others, for what `dump` has not written."""
    values = json.loads(stored)
    if isinstance(values, dict):
        values.pop("network", None)  # of a time when a container was on one network for good
    return build(PodSpec, values)


def load_container(stored: str) -> ContainerSpec:
    spec = build(ContainerSpec, json.loads(stored))
    process = spec.oci.get("process")
    args = process.get("args") if isinstance(process, dict) else None
    if not isinstance(args, list) or not all(isinstance(word, str) for word in args):
        raise ValueError("ContainerSpec.oci has no process")
    return spec
