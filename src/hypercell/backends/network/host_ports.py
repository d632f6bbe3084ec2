# SPDX-License-Identifier: Apache-2.0
"""Which ports of the host are published, and for whom. However many there are, one is found or refused at once."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace

from hypercell.base.errors import Conflict, InvalidArgument
from hypercell.node.network import PublishedPort

_EPHEMERAL = range(49153, 65536)
_ANYWHERE = "0.0.0.0"  # noqa: S104 -- compared, not bound


class HostPorts:
    def __init__(self, published: Mapping[str, tuple[PublishedPort, ...]]) -> None:
        """*published*: by port id, as an earlier daemon left it."""
        self._published = dict(published)
        self._addresses: dict[tuple[str, int], set[str]] = {}
        self._next = 0
        for ports in self._published.values():
            for port in ports:
                self._note(port)

    def of(self, port_id: str) -> tuple[PublishedPort, ...]:
        return self._published.get(port_id, ())

    def take(self, port_id: str, wanted: tuple[PublishedPort, ...]) -> tuple[PublishedPort, ...]:
        """*wanted* with a host port each, all of them now taken, or none. Raises `Conflict`, `InvalidArgument`."""
        chosen: list[PublishedPort] = []
        try:
            for port in wanted:
                chosen.append(self._choose(port))
                self._note(chosen[-1])
        except BaseException:
            self._forget(chosen)
            raise
        if chosen:
            self._published[port_id] = tuple(chosen)
        return tuple(chosen)

    def give_back(self, port_id: str) -> None:
        self._forget(self._published.pop(port_id, ()))

    def _choose(self, port: PublishedPort) -> PublishedPort:
        if port.protocol not in ("tcp", "udp"):
            raise InvalidArgument(f"cannot publish {port.protocol} ports", "tcp and udp can be")
        if port.host_port:
            if self._is_free(port, port.host_port):
                return port
        else:
            # Round and round, as Linux does: the ones just behind are likely taken, and one just freed may be awaited.
            for step in range(len(_EPHEMERAL)):
                number = _EPHEMERAL[(self._next + step) % len(_EPHEMERAL)]
                if self._is_free(port, number):
                    self._next = (self._next + step + 1) % len(_EPHEMERAL)
                    return replace(port, host_port=number)
        raise Conflict(
            f"Bind for {port.host_ip}:{port.host_port} failed: port is already allocated",
            "publish another host port, or stop what uses it",
        )

    def _is_free(self, port: PublishedPort, number: int) -> bool:
        """Whether nobody has the port at the same address, neither of them means all, and no program listens there."""
        there = self._addresses.get((port.protocol, number), ())
        if there and (port.host_ip in there or _ANYWHERE in there or port.host_ip == _ANYWHERE):
            return False
        return _unbound(port.host_ip, number, port.protocol)

    def _note(self, port: PublishedPort) -> None:
        self._addresses.setdefault((port.protocol, port.host_port), set()).add(port.host_ip)

    def _forget(self, ports: list[PublishedPort] | tuple[PublishedPort, ...]) -> None:
        for port in ports:
            key = (port.protocol, port.host_port)
            self._addresses[key].discard(port.host_ip)
            if not self._addresses[key]:
                del self._addresses[key]


def _unbound(address: str, port: int, protocol: str) -> bool:
    """True if no program of the machine has the port. (Rules would win over it, silently.)"""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
