# SPDX-License-Identifier: Apache-2.0
"""The parameters of `POST /build` as one `BuildRequest`."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from hypercell.api.docker.create.resources import parse_resources, parse_ulimits
from hypercell.api.docker.credentials import read_credentials
from hypercell.api.docker.documents import Fields, load_json
from hypercell.api.docker.engine import Call
from hypercell.api.docker.query import flag, number
from hypercell.api.http import Query
from hypercell.base.errors import InvalidArgument, Unsupported
from hypercell.engines.build import BuildRequest
from hypercell.images import reference
from hypercell.images.contract import Credentials
from hypercell.images.registry.domains import domain_of

_LONGEST_HEADER = 1024 * 1024


def parse_build(call: Call) -> BuildRequest:
    """Raises `InvalidArgument`, `Unsupported`."""
    query = call.query
    _refuse(query)
    asked = {
        "Memory": number(query, "memory"),
        "MemorySwap": number(query, "memswap"),
        "CpuShares": number(query, "cpushares"),
        "CpuPeriod": number(query, "cpuperiod"),
        "CpuQuota": number(query, "cpuquota"),
    }
    resources = parse_resources(Fields(asked, "query"))
    return BuildRequest(
        dockerfile=query.get("dockerfile"),
        tags=tuple(_tag(name) for name in query.all("t") if name),
        arguments=_arguments(query),
        labels=_object(query, "labels").text_mapping("labels"),
        target=query.get("target"),
        no_cache=flag(query, "nocache"),
        pull=flag(query, "pull"),
        quiet=flag(query, "q"),
        remove=flag(query, "rm", default=True),
        platform=query.get("platform"),
        memory=resources.memory,
        nano_cpus=resources.nano_cpus,
        cpu_shares=resources.cpu_shares,
        shm_size=max(number(query, "shmsize") or 0, 0),
        ulimits=parse_ulimits(Fields({"Ulimits": _json(query, "ulimits")}, "query")),
        network={"": "bridge", "default": "bridge"}.get(query.get("networkmode"), query.get("networkmode")),
        extra_hosts=tuple(host for text in query.all("extrahosts") for host in text.split(",") if host),
        credentials=_credentials(call.header("x-registry-config")),
    )


def _refuse(query: Query) -> None:
    if query.get("version") == "2":
        raise Unsupported(
            "BuildKit is not built", "set DOCKER_BUILDKIT=0, or leave out buildx: then the CLI builds without it"
        )
    if flag(query, "squash"):
        raise Unsupported("squashing is not built", "leave --squash out, or build in stages")
    _refuse_value(query.get("remote"), "building from a URL", "send the context as a tar")
    _refuse_value(query.get("outputs"), "an output other than the image", "leave --output out, and save the image")
    _refuse_value(query.get("cpusetcpus"), "choosing CPUs", "limit them with --cpu-quota")
    _refuse_value(query.get("cpusetmems"), "choosing memory nodes", "leave it out")
    if _json(query, "securityopt"):
        raise Unsupported(
            "security options of a build are not built", "each command has a VM of its own: leave them out"
        )


def _refuse_value(value: str, what: str, hint: str) -> None:
    if value not in ("", "null", "[]"):
        raise Unsupported(f"{what} is not built", hint)


def _json(query: Query, name: str) -> Any:
    text = query.get(name)
    return load_json(text.encode(), name) if text else None


def _object(query: Query, name: str) -> Fields:
    return Fields({name: _json(query, name)}, "query")


def _arguments(query: Query) -> dict[str, str | None]:
    given = _object(query, "buildargs").mapping("buildargs")
    for name, value in given.items():
        if value is not None and (not isinstance(value, str) or "\0" in name + value):
            raise InvalidArgument(f"buildargs: {name[:100]!r} must be a string or null")
    return given


def _tag(name: str) -> tuple[str, str]:
    given = reference.parse(name)
    if given.digest:
        raise InvalidArgument(f"invalid tag {name[:100]!r}: refusing to create a tag with a digest reference")
    return given.familiar_name, given.tag or reference.DEFAULT_TAG


def _credentials(header: str) -> dict[str, Credentials]:
    """`X-Registry-Config`: base64url of an object with a member for each registry."""
    if not header:
        return {}
    try:
        packed = header[:_LONGEST_HEADER].rstrip("=").replace("-", "+").replace("_", "/")
        text = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgument("X-Registry-Config: not base64") from None
    document = load_json(text, "X-Registry-Config")
    found: dict[str, Credentials] = {}
    for address, value in (document or {}).items() if isinstance(document, dict | None) else ():
        try:
            domain = domain_of(address)
        except InvalidArgument:  # of a file that the user did not write for us: it is no registry's
            continue
        found[domain] = read_credentials(Fields(value, "X-Registry-Config"))
    return found
