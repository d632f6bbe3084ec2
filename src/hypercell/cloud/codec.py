# SPDX-License-Identifier: Apache-2.0
"""What the cloud keeps with a container's record, as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hypercell.cloud.contract import ContainerRequest, PublishedPort, RestartPolicy, Ulimit
from hypercell.cloud.resolve import Resolved

Json = dict[str, Any]


def dump(resolved: Resolved) -> Json:
    values = asdict(resolved)
    del values["warnings"]
    return values


def load(values: Json) -> Resolved:
    fields = dict(values)
    fields["request"] = load_request(fields["request"])
    for name in ("args", "env"):
        fields[name] = tuple(fields[name])
    return Resolved(**fields)


def load_request(values: Json) -> ContainerRequest:
    fields: Json = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    fields["restart"] = RestartPolicy(**fields["restart"])
    fields["ulimits"] = tuple(Ulimit(**limit) for limit in fields["ulimits"])
    fields["published"] = tuple(PublishedPort(**port) for port in fields["published"])
    return ContainerRequest(**fields)
