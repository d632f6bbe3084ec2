# SPDX-License-Identifier: Apache-2.0
"""A network that is a file: keeps its promises over restarts of the daemon, moves no packet, needs no rights."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypercell.base.errors import Conflict, Forbidden, InvalidArgument, NotFound
from hypercell.base.ids import new_id
from hypercell.base.typed import build, plain
from hypercell.node.network import (
    BRIDGE,
    NONE,
    NetworkRecord,
    NetworkSpec,
    Place,
    Port,
    PublishedPort,
    SpareTap,
    Wish,
)

_EPHEMERAL = 49153


class MemoryNetwork:
    """Implements `node.network.Network`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.taps: list[str] = []
        """The ports that were given one, in order."""
        self.spares: dict[str, str] = {}
        """Spare taps, and the port that each became the tap of."""
        self.called: dict[str, tuple[str, ...]] = {}
        """By port: the names that it was announced by."""
        self.started = False
        default = NetworkSpec("", "bridge", "172.16.0.0/16", "172.16.0.1")
        self._networks = {
            BRIDGE: NetworkRecord(BRIDGE, 0, default, "br"),
            NONE: NetworkRecord(NONE, 0, NetworkSpec("", "none")),
        }

    @property
    def ports(self) -> dict[str, Port]:
        return {name: build(Port, entry) for name, entry in self._read().items()}

    def _read(self) -> dict[str, Any]:
        return dict(json.loads(self._path.read_text())) if self._path.exists() else {}

    def _write(self, ports: dict[str, Port]) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({name: plain(port) for name, port in ports.items()}))
        new.replace(self._path)

    async def start(self) -> None:
        self.started = True

    @property
    def networks(self) -> dict[str, NetworkRecord]:
        return self._networks

    async def create_network(self, spec: NetworkSpec) -> NetworkRecord:
        if any(known.spec.name == spec.name and known.spec.tenant == spec.tenant for known in self._networks.values()):
            raise Conflict(f"network with name {spec.name} already exists")
        number = len(self._networks) + 15
        spec = replace(spec, subnet=spec.subnet or f"172.{number}.0.0/16", gateway=spec.gateway or f"172.{number}.0.1")
        record = NetworkRecord(new_id(), 1, spec, "br")
        self._networks[record.id] = record
        return record

    async def remove_network(self, network: str) -> None:
        record = self._networks[network]
        if record.built_in:
            raise Forbidden(f"{record.spec.name} is a pre-defined network and cannot be removed")
        if any(port.on(network) for port in self.ports.values()):
            raise Forbidden(f"network {record.spec.name} has active endpoints")
        del self._networks[network]

    async def allocate(self, port_id: str, tenant: str, wishes: tuple[Wish, ...]) -> Port:
        ports = self.ports
        if port_id not in ports:
            ports[port_id] = self._port(port_id, tuple(self._place(port_id, wish) for wish in wishes))
            self._write(ports)
        return ports[port_id]

    def _port(self, port_id: str, places: tuple[Place, ...]) -> Port:
        return Port(port_id, places, tuple(place.gateway for place in places if place.gateway)[:1])

    def _place(self, port_id: str, wish: Wish) -> Place:
        if wish.network not in self._networks:
            raise NotFound(f"network {wish.network} not found")
        spec = self._networks[wish.network].spec
        mac = wish.mac or f"02:00:{port_id[:2]}:{port_id[2:4]}:{port_id[4:6]}:{port_id[6:8]}"
        if wish.network == NONE:
            return Place(wish, "none", mac, "", "", 1500)
        taken = {place.address for port in self.ports.values() for place in port.places}
        prefix = spec.subnet.rpartition(".0.0")[0]
        chosen = next(a for n in range(2, 60000) if (a := f"{prefix}.{n >> 8}.{n & 255}/16") not in taken)
        address = f"{wish.address}/16" if wish.address else chosen
        return Place(wish, spec.name, mac, address, "" if spec.internal else spec.gateway, spec.mtu)

    def port(self, port_id: str) -> Port:
        if port_id not in self.ports:
            raise NotFound(f"no port {port_id}")
        return self.ports[port_id]

    async def connect(self, port_id: str, wish: Wish) -> Port:
        ports, port = self.ports, self.port(port_id)
        if port.on(wish.network) is not None:
            raise Forbidden("endpoint already exists")
        ports[port_id] = self._port(port_id, (*port.places, self._place(port_id, wish)))
        self._write(ports)
        return ports[port_id]

    async def disconnect(self, port_id: str, network: str) -> Port:
        ports, port = self.ports, self.port(port_id)
        if port.on(network) is None:
            raise NotFound("it is not connected")
        ports[port_id] = self._port(port_id, tuple(place for place in port.places if place.network != network))
        self._write(ports)
        return ports[port_id]

    def announce(self, port_id: str, names: tuple[str, ...]) -> None:
        self.called[port_id] = names
        if not names:
            del self.called[port_id]

    async def open_tap(self, port_id: str) -> int:
        if port_id not in self.ports:
            raise NotFound(f"no port {port_id}")
        self.taps.append(port_id)
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    async def spare_tap(self) -> SpareTap:
        name = f"spare{len(self.spares)}"
        self.spares[name] = ""
        return SpareTap(name, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    async def give_tap(self, port_id: str, name: str) -> None:
        if port_id not in self.ports:
            raise NotFound(f"no port {port_id}")
        if name not in self.spares:
            raise InvalidArgument(f"{name!r} is no spare tap")
        if self.spares[name] not in ("", port_id):
            raise Conflict(f"the spare tap {name} is gone")
        self.spares[name] = port_id
        self.taps.append(port_id)

    async def publish(self, port_id: str, ports: tuple[PublishedPort, ...]) -> tuple[PublishedPort, ...]:
        known = self.ports
        taken = {
            (entry.host_port, entry.protocol)
            for name, port in known.items()
            for entry in port.published
            if name != port_id
        }
        published: list[PublishedPort] = []
        for wanted in ports:
            if known[port_id].on(NONE) is not None:
                raise InvalidArgument("a container on network none has no ports to publish")
            free = (n for n in range(_EPHEMERAL, 65536) if (n, wanted.protocol) not in taken)
            chosen = wanted.host_port or next(free)
            if (chosen, wanted.protocol) in taken:
                raise Conflict(f"Bind for {wanted.host_ip}:{chosen} failed: port is already allocated")
            taken.add((chosen, wanted.protocol))
            published.append(replace(wanted, host_port=chosen))
        known[port_id] = replace(known[port_id], published=tuple(published))
        self._write(known)
        return tuple(published)

    async def unpublish(self, port_id: str) -> None:
        ports = self.ports
        if port_id in ports and ports[port_id].published:
            ports[port_id] = replace(ports[port_id], published=())
            self._write(ports)

    async def release(self, *port_ids: str) -> None:
        self._write({name: port for name, port in self.ports.items() if name not in port_ids})

    async def reconcile(self, port_ids: set[str]) -> None:
        self._write({name: port for name, port in self.ports.items() if name in port_ids})

    async def close(self) -> None: ...
