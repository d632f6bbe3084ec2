# SPDX-License-Identifier: Apache-2.0
"""/etc/hostname, /etc/hosts and /etc/resolv.conf, worded as docker words them."""

from __future__ import annotations

import base64
from typing import Any

from hypercell.cloud.contract import ContainerRequest
from hypercell.node.network import Port

Json = dict[str, Any]
_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def etc_files(request: ContainerRequest, port: Port) -> list[Json]:
    """Entries of the agent's `files`."""
    contents = {
        "/etc/hostname": f"{request.hostname}\n",
        "/etc/hosts": hosts(request, port),
        "/etc/resolv.conf": resolv_conf(request, port),
    }
    return [
        {"path": path, "data": base64.b64encode(text.encode()).decode(), "mode": 0o644, "uid": 0, "gid": 0}
        for path, text in contents.items()
    ]


def hosts(request: ContainerRequest, port: Port) -> str:
    lines, gateway = [_HOSTS], port.main.gateway if port.main is not None else ""
    for entry in request.extra_hosts:
        name, _, address = entry.partition(":")
        address = gateway if address == "host-gateway" else address.strip("[]")
        if address:
            lines.append(f"{address}\t{name}\n")
    names = [request.hostname]
    if request.domainname:
        names.insert(0, f"{request.hostname}.{request.domainname}")
    addresses = [place.address.partition("/")[0] for place in port.places if place.address]
    lines += [f"{address}\t{' '.join(names)}\n" for address in addresses]
    return "".join(lines)


def resolv_conf(request: ContainerRequest, port: Port) -> str:
    lines = [f"nameserver {server}\n" for server in request.dns or port.name_servers]
    if request.dns_search and request.dns_search != (".",):
        lines.append(f"search {' '.join(request.dns_search)}\n")
    if request.dns_options:
        lines.append(f"options {' '.join(request.dns_options)}\n")
    return "".join(lines)
