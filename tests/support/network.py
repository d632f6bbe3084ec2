# SPDX-License-Identifier: Apache-2.0
"""A network that is a file: keeps its promises over restarts of the daemon, moves no packet, needs no rights."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hypercell.base.errors import Conflict, InvalidArgument, NotFound
from hypercell.node.network import Port, PublishedPort, SpareTap

_EPHEMERAL = 49153


class MemoryNetwork:
    """Implements `node.network.Network`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.taps: list[str] = []
        """The ports that were given one, in order."""
        self.spares: dict[str, str] = {}
        """Spare taps, and the port that each became the tap of."""
        self.started = False

    @property
    def ports(self) -> dict[str, Port]:
        return {name: _load(entry) for name, entry in self._read().items()}

    def _read(self) -> dict[str, Any]:
        return dict(json.loads(self._path.read_text())) if self._path.exists() else {}

    def _write(self, ports: dict[str, Port]) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({name: asdict(port) for name, port in ports.items()}))
        new.replace(self._path)

    async def start(self) -> None:
        self.started = True

    async def allocate(self, port_id: str, tenant: str, network: str) -> Port:
        ports = self.ports
        if port_id not in ports:
            ports[port_id] = self._new(port_id, network, {port.address for port in ports.values()})
            self._write(ports)
        return ports[port_id]

    def _new(self, port_id: str, network: str, taken: set[str]) -> Port:
        if network not in ("bridge", "none"):
            raise NotFound(f"network {network} not found")
        mac = f"02:00:{port_id[:2]}:{port_id[2:4]}:{port_id[4:6]}:{port_id[6:8]}"
        if network == "none":
            return Port(port_id, network, mac, "", "", (), 1500)
        address = next(a for n in range(2, 60000) if (a := f"172.16.{n >> 8}.{n & 255}/16") not in taken)
        return Port(port_id, network, mac, address, "172.16.0.1", ("172.16.0.1",), 1500)

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
            if known[port_id].network == "none":
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

    async def describe(self, network: str) -> dict[str, str]:
        return {"subnet": "172.16.0.0/16", "gateway": "172.16.0.1"} if network == "bridge" else {}

    async def close(self) -> None: ...


def _load(entry: dict[str, Any]) -> Port:
    published = tuple(PublishedPort(**port) for port in entry["published"])
    return Port(**{**entry, "published": published, "name_servers": tuple(entry["name_servers"])})
