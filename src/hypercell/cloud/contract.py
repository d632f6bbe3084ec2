# SPDX-License-Identifier: Apache-2.0
"""What the doors ask of the cloud: requests in one normalised form, views out, and the service between.

A door parses its own dialect into these types and nothing else; authorisation, defaults and validation look only at
them, so no spelling of a request can slip past a rule.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from hypercell.cloud.volume_contract import (
    BindRequest,
    Mounted,
    MountRequest,
    VolumeRequest,
    Volumes,
    VolumesFrom,
    VolumeView,
)
from hypercell.node.admission import Waiting
from hypercell.node.health import Health, HealthStatus
from hypercell.node.network import Place, Port, PublishedPort, Wish
from hypercell.node.trace import Trace
from hypercell.node.types import (
    OPERATOR_TENANT,
    Attachment,
    Change,
    ChangeKind,
    LogQuery,
    LogRecord,
    LogSpec,
    Output,
    RestartPolicy,
    State,
    Status,
)

__all__ = [
    "OPERATOR_TENANT",
    "Attachment",
    "BindRequest",
    "Change",
    "ChangeKind",
    "CommitRequest",
    "ContainerRequest",
    "ContainerView",
    "Containers",
    "Event",
    "Events",
    "ExecRequest",
    "ExecView",
    "Health",
    "HealthRequest",
    "HealthStatus",
    "LogQuery",
    "LogRecord",
    "LogSpec",
    "MountRequest",
    "Mounted",
    "Output",
    "Place",
    "Port",
    "PublishedPort",
    "RestartPolicy",
    "State",
    "Status",
    "Trace",
    "Ulimit",
    "VolumeRequest",
    "VolumeView",
    "Volumes",
    "VolumesFrom",
    "Waiting",
    "Wish",
    "Workshop",
]


@dataclass(frozen=True, slots=True)
class Ulimit:
    name: str
    soft: int
    hard: int


MIN_DISK = 64 * 1024**2
"""Bytes of a writable layer; a file system needs some for itself."""


@dataclass(frozen=True, slots=True)
class HealthRequest:
    """How to find out whether a container is well, as docker says it. Times in nanoseconds; what is empty or 0 the
    image says, or else docker's defaults."""

    test: tuple[str, ...] = ()
    """`NONE`, or `CMD` and a command, or `CMD-SHELL` and a line for the shell."""
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    image: str
    """As the user wrote it: a reference, an id or a prefix of one."""
    name: str = ""
    """Empty: one is made up."""
    command: tuple[str, ...] | None = None
    """None: the image's."""
    entrypoint: tuple[str, ...] | None = None
    """None: the image's; empty: none at all (and then the image's command is dropped too, as docker does)."""
    env: tuple[str, ...] = ()
    """`NAME=value`, or `NAME` to remove the image's."""
    working_dir: str = ""
    user: str = ""
    hostname: str = ""
    domainname: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    stop_signal: str = ""
    stop_timeout: int | None = None
    """Seconds; None: 10. Negative: wait for ever."""
    health: HealthRequest | None = None
    shell: tuple[str, ...] = ()
    """What runs the line of a `CMD-SHELL`; empty: /bin/sh."""
    size: str = ""
    """A size class; empty: the default, unless memory or cpus say otherwise."""
    memory: int = 0
    """Bytes; 0: the size's."""
    nano_cpus: int = 0
    """Billionths of a CPU; 0: the size's vCPUs."""
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    """Those of the VM's processors that it may use, such as `0-2,7`; empty: all."""
    pids_limit: int = 0
    """0 or negative: unlimited by the user."""
    read_only: bool = False
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    """Path -> mount options, as docker's `--tmpfs`."""
    mounts: tuple[MountRequest, ...] = ()
    binds: tuple[BindRequest, ...] = ()
    volumes: tuple[str, ...] = ()
    """Where a volume of the container's own is mounted, unless something else is; those of the image too."""
    volumes_from: tuple[VolumesFrom, ...] = ()
    shm_size: int = 64 * 1024 * 1024
    no_shm: bool = False
    """Nothing is mounted on /dev/shm."""
    vm_namespaces: tuple[str, ...] = ()
    """Of `pid`, `ipc`, `uts` and `cgroup` (OCI's names) those that it shares with its VM's own processes: docker's mode
    `host`, whose host is the VM."""
    ipc_shareable: bool = False
    """Others may join its IPC namespace; `/dev/shm` stays its own."""
    joins: Mapping[str, str] = field(default_factory=dict)
    """Of `network`, `pid` and `ipc` (OCI's names) those that it shares with another container, by the name or id of
    that one, which is the same in all. It lives in that one's VM then, and is on its network unless *network* is
    `none`."""
    memory_reservation: int = 0
    """Bytes that it keeps when its VM is short of memory; 0: none."""
    disk_size: int = 0
    """Bytes of the writable layer; 0: the operator's setting."""
    device_rules: tuple[str, ...] = ()
    """`c 10:200 rwm`: devices of the VM that it may use as well."""
    ulimits: tuple[Ulimit, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    no_new_privileges: bool = False
    isolation: str = ""
    """`shared` (its VM may be a clone), `cold` (its VM boots by itself), or empty: whatever the operator gives."""
    seccomp: str = ""
    """Empty: docker's default profile; `unconfined`; else a profile in docker's JSON."""
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
    group_add: tuple[str, ...] = ()
    oom_score_adj: int = 0
    sysctls: Mapping[str, str] = field(default_factory=dict)
    init: bool = False
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    auto_remove: bool = False
    log: LogSpec = field(default_factory=LogSpec)
    network: str = "bridge"
    """`bridge`, `none`, or the name or id of a network of the tenant's."""
    endpoints: tuple[Wish, ...] = ()
    """What it asks of its networks, each by name or id; empty: `network`, without wishes."""
    published: tuple[PublishedPort, ...] = ()
    exposed: tuple[str, ...] = ()
    """`80/tcp`."""
    publish_all: bool = False
    extra_hosts: tuple[str, ...] = ()
    """`name:address`."""
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    door: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What a door wants back verbatim when it inspects (its own echo); nobody else reads it."""


@dataclass(frozen=True, slots=True)
class ContainerView:
    id: str
    tenant: str
    name: str
    created_ns: int
    request: ContainerRequest
    """With defaults filled in."""
    image_id: str
    args: tuple[str, ...]
    """The whole command line: entrypoint and command."""
    env: tuple[str, ...]
    working_dir: str
    user: str
    stop_signal: str
    state: State
    port: Port
    mounts: tuple[Mounted, ...] = ()
    """Its volumes."""
    exec_ids: tuple[str, ...] = ()
    vm: Mapping[str, Any] = field(default_factory=dict)
    """vcpus, memory, kernel, accelerator …"""
    waiting: Waiting | None = None
    """What keeps its start waiting for its turn."""
    trace: Trace | None = None
    """Where the time of its last start went, if this daemon started it."""
    size_rw: int | None = None
    size_root: int | None = None
    shown: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """What a door has written of it and can use again: it lasts as long as this does."""


@dataclass(frozen=True, slots=True)
class ExecRequest:
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = True
    attach_stderr: bool = True
    privileged: bool = False
    console_size: tuple[int, int] | None = None
    """Rows, columns."""
    detach_keys: str = ""


@dataclass(frozen=True, slots=True)
class ExecView:
    id: str
    container_id: str
    request: ExecRequest
    running: bool
    exit_code: int | None
    pid: int


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """An image of a container."""

    repository: str = ""
    """Empty: it gets no name."""
    tag: str = ""
    comment: str = ""
    author: str = ""
    pause: bool = True
    """Nothing of it runs meanwhile."""
    changes: tuple[str, ...] = ()
    """Dockerfile instructions that edit the configuration."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Members of an image config's `config` that replace the container's own."""


@dataclass(frozen=True, slots=True)
class Event:
    """docker's event: `type` container, image, network, daemon; `action` create, start, die, oom …"""

    type: str
    action: str
    actor: str
    attributes: Mapping[str, str]
    time_ns: int
    tenant: str = OPERATOR_TENANT


class Workshop(Protocol):
    """A container's files, between two starts. One method at a time."""

    async def stat(self, path: str) -> dict[str, Any] | None:
        """None: it is not there."""

    async def put(self, path: str, body: AsyncIterator[bytes], chown: bool) -> None:
        """Unpack a tar; *chown*: all of it becomes the container's user's."""

    def get(self, path: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...
    def layer(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...


class Containers(Protocol):
    """`ref` is an id, a unique prefix of one, or a name, looked up in the tenant only. Every method raises `NotFound`
    (docker's words: `No such container: x`), `InvalidArgument` for an ambiguous prefix, `Conflict` for the wrong
    state."""

    async def create(self, tenant: str, request: ContainerRequest) -> tuple[str, builtins.list[str]]:
        """(id, warnings). The image must be here: `NotFound("No such image: x")`."""

    async def start(self, tenant: str, ref: str) -> None:
        """`NotModified` when it runs. `ExecFailed`, `VmFailed`."""

    async def stop(self, tenant: str, ref: str, timeout: int | None = None, signal: str = "") -> None: ...
    async def restart(self, tenant: str, ref: str, timeout: int | None = None, signal: str = "") -> None: ...
    async def kill(self, tenant: str, ref: str, signal: str = "KILL") -> None: ...
    async def pause(self, tenant: str, ref: str) -> None: ...
    async def unpause(self, tenant: str, ref: str) -> None: ...
    async def rename(self, tenant: str, ref: str, name: str) -> None: ...
    async def remove(self, tenant: str, ref: str, force: bool = False, volumes: bool = False) -> None:
        """With *volumes*, those go too that nobody named and no other container uses."""

    async def wait(
        self, tenant: str, ref: str, condition: str = "not-running", ready: Callable[[], None] | None = None
    ) -> tuple[int, str]:
        """(exit code, error). `condition`: `not-running`, `next-exit`, `removed`. `ready` is called once the container
        was found and is being watched: nothing that happens afterwards can be missed."""

    async def update(
        self,
        tenant: str,
        ref: str,
        restart: RestartPolicy | None = None,
        nano_cpus: int = 0,
        memory: int = 0,
        memory_reservation: int = 0,
        pids_limit: int = 0,
        cpuset_cpus: str = "",
        cpu_shares: int = 0,
        door: Mapping[str, Any] | None = None,
    ) -> builtins.list[str]:
        """Warnings. 0, or an empty text, leaves a limit as it is; negative CPUs or processes lift it. *door*: members
        of `HostConfig` in the request's `door`. `Unsupported` for growth beyond the VM."""

    async def list(self, tenant: str, all: bool = False, size: bool = False) -> builtins.list[ContainerView]:
        """Newest first; without what only `inspect` shows (`vm`, `waiting`, `trace`)."""

    async def inspect(self, tenant: str, ref: str, size: bool = False) -> ContainerView: ...
    def logs(self, tenant: str, ref: str, query: LogQuery) -> AsyncIterator[LogRecord]:
        """`Unsupported` for one whose log is not kept."""

    async def attach(
        self, tenant: str, ref: str, stdin: bool, stdout: bool, stderr: bool, stream: bool = True, logs: bool = False
    ) -> Attachment:
        """Also to a created container: output begins with its start. `Unsupported` with *logs* if none is kept."""

    async def resize(self, tenant: str, ref: str, rows: int, columns: int) -> None: ...

    async def top(self, tenant: str, ref: str) -> builtins.list[dict[str, Any]]:
        """The agent's `container.processes` rows with `cpu_seconds`, `started_ns` and `memory_total` added."""

    async def stats(self, tenant: str, ref: str) -> dict[str, Any]:
        """The agent's `container.stats`, with `host` (HostUsage as a dict) added. Empty for one that does not run."""

    async def exec_create(self, tenant: str, ref: str, request: ExecRequest) -> str: ...
    async def exec_start(
        self, tenant: str, exec_id: str, detach: bool, console_size: tuple[int, int] | None = None
    ) -> Attachment | None: ...
    async def exec_resize(self, tenant: str, exec_id: str, rows: int, columns: int) -> None: ...
    async def exec_inspect(self, tenant: str, exec_id: str) -> ExecView: ...

    async def changes(self, tenant: str, ref: str) -> AsyncIterator[builtins.list[Change]]:
        """What was changed in its root since it was created, a directory before what is in it. Close it."""

    async def export(self, tenant: str, ref: str) -> AsyncIterator[bytes]:
        """A tar of its root, without what is mounted in it. Close it."""

    async def commit(self, tenant: str, ref: str, request: CommitRequest) -> str:
        """The id of the image that it is made into."""

    def layer(self, tenant: str, ref: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """What was changed in its root, as a layer of an image."""

    def workshop(self, tenant: str, ref: str) -> AbstractAsyncContextManager[Workshop]:
        """One guest for several things that are done to the files of a container that does not run, and is not to."""

    async def archive_stat(self, tenant: str, ref: str, path: str) -> dict[str, Any]: ...
    async def archive_get(self, tenant: str, ref: str, path: str) -> tuple[dict[str, Any], AsyncIterator[bytes]]: ...
    async def archive_put(
        self,
        tenant: str,
        ref: str,
        path: str,
        body: AsyncIterator[bytes],
        no_overwrite_dir_non_dir: bool = False,
        copy_uid_gid: bool = False,
    ) -> None: ...

    async def prune(self, tenant: str, keep: Callable[[ContainerView], bool]) -> tuple[builtins.list[str], int]:
        """Remove the stopped ones that *keep* does not want, but no dead ones: (ids, bytes freed)."""


class Events(Protocol):
    def publish(self, event: Event) -> None: ...

    def subscribe(self, tenant: str, since_ns: int = 0, until_ns: int = 0) -> AsyncIterator[Event]:
        """Past ones (the last 1000 are kept) from `since_ns`, then live ones, until `until_ns` (0: for ever)."""
