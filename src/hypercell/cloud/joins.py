# SPDX-License-Identifier: Apache-2.0
"""What a container that joins another (docker's modes `container:X`) cannot say itself: the rules are docker's, where
docker has such a case."""

from __future__ import annotations

from hypercell.base.errors import InvalidArgument, Unsupported
from hypercell.cloud.contract import ContainerRequest

JOINABLE = ("network", "pid", "ipc")
"""Namespaces of another container, by OCI's names."""
_IPC_SYSCTLS = ("kernel.", "fs.mqueue.")


def check(request: ContainerRequest) -> None:
    """Raises `InvalidArgument` for what contradicts that it joins another, `Unsupported`."""
    joins = request.joins
    if not joins:
        return
    if not set(joins) <= set(JOINABLE):
        raise InvalidArgument(f"of another container {', '.join(JOINABLE)} can be joined")
    if len(set(joins.values())) > 1:
        named = " and ".join(dict.fromkeys(joins.values()))
        words = f"conflicting options: the container joins {named[:200]}"
        raise InvalidArgument(words, "it can be in the VM of one container: name the same in all modes")
    if shared := set(joins) & set(request.vm_namespaces):
        raise InvalidArgument(f"conflicting options: {min(shared)} of another container and of the VM")
    if request.isolation:
        raise InvalidArgument("conflicting options: isolation and the mode of another container", "it has no own VM")
    if "network" in joins:
        _check_network(request)
    elif request.endpoints or request.network not in ("bridge", "none"):
        words = f"network {request.network[:100]} cannot be that of a container that joins another"
        raise Unsupported(words, "it is on the network of that one, or on none")
    elif request.published or request.publish_all:
        words = "conflicting options: port publishing and the mode of another container"
        raise InvalidArgument(words, "publish the ports with that one, whose network it has")
    _check_sysctls(request)


def _check_network(request: ContainerRequest) -> None:
    """In dockerd's words, in its order."""
    told = {
        "hostname and the network mode": request.hostname,
        "dns and the network mode": request.dns,
        "custom host-to-IP mapping and the network mode": request.extra_hosts,
        "port publishing and the container type network mode": request.published or request.publish_all,
        "port exposing and the container type network mode": request.exposed,
    }
    for what, said in told.items():
        if said:
            raise InvalidArgument(f"conflicting options: {what}", "say it of the container that is joined")


def _check_sysctls(request: ContainerRequest) -> None:
    for name in request.sysctls:
        network = name.startswith("net.") and (request.network != "none" or "network" in request.joins)
        if network or ("ipc" in request.joins and name.startswith(_IPC_SYSCTLS)):
            words = f"sysctl '{name[:100]}' is not allowed: its namespace is that of another container"
            raise InvalidArgument(words, "set it in the container that is joined")
