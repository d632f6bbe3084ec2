# SPDX-License-Identifier: Apache-2.0
"""The body of `POST /containers/create`: every spelling of a wish becomes one `ContainerRequest`, or an error that
names the field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypercell.api.docker.create.config import parse_config
from hypercell.api.docker.create.host import parse_host_config
from hypercell.api.docker.create.networking import parse_endpoints, refuse_endpoints
from hypercell.api.docker.create.size import parse_size
from hypercell.api.docker.documents import Fields, load_json
from hypercell.base.errors import InvalidArgument
from hypercell.base.ids import is_name
from hypercell.cloud.contract import ContainerRequest


@dataclass(frozen=True, slots=True)
class Parsed:
    request: ContainerRequest
    warnings: list[str]


def parse_create(body: bytes, name: str) -> Parsed:
    """Raises `InvalidArgument`, `Unsupported` (naming what is not built)."""
    if not body.strip():
        raise InvalidArgument("invalid JSON: got EOF while reading request body")
    document = load_json(body)
    if document is None:
        raise InvalidArgument("config cannot be empty in order to create a container")
    fields = Fields(document)
    echo: dict[str, dict[str, Any]] = {"Config": {}, "HostConfig": {}}
    warnings: list[str] = []
    host = fields.object("HostConfig") or Fields({}, "HostConfig")
    networking = fields.object("NetworkingConfig")
    members = parse_host_config(host, echo["HostConfig"], warnings)
    members |= parse_config(fields, echo["Config"])
    fields.finish()
    mac = members.pop("mac")
    if "network" in members["joins"]:
        refuse_endpoints(networking, mac)
    else:
        members["endpoints"] = parse_endpoints(networking, members["network"], mac)
    members["size"] = parse_size(echo["HostConfig"].get("Annotations", {}), members["labels"])
    return Parsed(ContainerRequest(name=_name(name), door=echo, **members), warnings)


def _name(given: str) -> str:
    name = given.removeprefix("/")
    if name and not is_name(name):
        raise InvalidArgument(f"Invalid container name ({given[:300]}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return name
