# SPDX-License-Identifier: Apache-2.0
"""What the node is given, in one place, so that its parts need not know each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hypercell.agent.contract import Connect
from hypercell.base.config import Config
from hypercell.images.contract import Images
from hypercell.node.admission import Admission
from hypercell.node.figures import Figures
from hypercell.node.identity import Identities
from hypercell.node.network import Network
from hypercell.node.records import Record, Records
from hypercell.node.storage import Storage
from hypercell.node.tasks import Tasks
from hypercell.node.teardown import Teardown
from hypercell.node.volumes import Claims, VolumeStore
from hypercell.vm.driver import Driver, GuestKernel
from hypercell.vm.factory import Factory


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """Something happened to a container. `action` is docker's word: create, start, die, oom, kill, destroy …"""

    action: str
    record: Record
    attributes: Mapping[str, str] = field(default_factory=dict)


EventSink = Callable[[NodeEvent], None]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds that the node waits for a guest which may be dead or hostile. Tests make them short."""

    request: float = 15.0
    """An answer of the agent."""
    reconnect: float = 10.0
    """A lost agent's return, and the adoption of a VM."""
    recovery: float = 2.0
    """What a daemon that comes up waits for all its guests together; for the rest it looks while it serves."""
    drain: float = 10.0
    """The end of the output streams after a process ended."""
    shutdown: float = 10.0
    """The guest's orderly end: processes killed, disks synced."""
    kill: float = 5.0
    """The end of a process after SIGKILL; then the VM is killed."""
    idle: float = 60.0
    """A client that takes nothing of a stopped container's files, and keeps it from starting."""
    close: float = 5.0
    """Verbs under way when the daemon ends."""


@dataclass(slots=True)
class Services:
    config: Config
    kernel: GuestKernel
    driver: Driver
    images: Images
    network: Network
    connect: Connect
    records: Records
    storage: Storage
    volumes: VolumeStore
    claims: Claims
    tasks: Tasks
    teardown: Teardown
    factory: Factory
    identities: Identities
    admission: Admission
    figures: Figures
    bounds: Bounds
    emit: EventSink
