# SPDX-License-Identifier: Apache-2.0
"""Seccomp profiles: docker's form, with conditions, becomes the OCI runtime-spec's, without (config-linux.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from hypercell.base.errors import InvalidArgument

Json = dict[str, Any]
UNCONFINED = "unconfined"
_DEFAULT = Path(__file__).parent / "profiles" / "default.json"
_ARCHITECTURE = "amd64"
_NATIVE = "SCMP_ARCH_X86_64"
_LONGEST = 256 * 1024
_RELEASE = re.compile(r"([0-9]{1,5})\.([0-9]{1,5})")


def resolve(profile: str, capabilities: Collection[str], kernel: str) -> Json | None:
    """`linux.seccomp` for *profile*: empty for the default, `unconfined`, or a profile in docker's JSON.

    *kernel* is the guest's `uname -r`. Raises `InvalidArgument`.
    """
    if profile == UNCONFINED:
        return None
    document = None if profile in ("", "builtin", "default") else _parse(profile)
    try:
        if document is None:
            return _resolved_default(frozenset(capabilities), kernel)
        return _resolve(document, frozenset(capabilities), _version(kernel))
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise InvalidArgument(f"invalid seccomp profile: {error!r}", "see docker's seccomp profile format") from error


@lru_cache(maxsize=16)
def _resolved_default(capabilities: frozenset[str], kernel: str) -> Json:
    """One for all containers with these capabilities, which most are: nobody changes it."""
    return _resolve(json.loads(_DEFAULT.read_text()), capabilities, _version(kernel))


def _parse(text: str) -> Json:
    if len(text) > _LONGEST:
        raise InvalidArgument(f"the seccomp profile is longer than {_LONGEST >> 10} KiB")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"decoding seccomp profile failed: {error}") from error
    if not isinstance(document, dict):
        raise InvalidArgument("decoding seccomp profile failed: not a JSON object")
    return document


def _resolve(document: Json, capabilities: frozenset[str], kernel: tuple[int, int]) -> Json:
    resolved: Json = {"defaultAction": str(document["defaultAction"]), "architectures": _architectures(document)}
    if document.get("defaultErrnoRet") is not None:
        resolved["defaultErrnoRet"] = _integer(document["defaultErrnoRet"])
    if document.get("flags"):
        resolved["flags"] = [str(flag) for flag in document["flags"]]
    resolved["syscalls"] = [
        _rule(entry) for entry in document.get("syscalls") or [] if _applies(entry, capabilities, kernel)
    ]
    return resolved


def _architectures(document: Mapping[str, Any]) -> list[str]:
    for entry in document.get("archMap") or []:
        if entry["architecture"] == _NATIVE:
            return [_NATIVE, *map(str, entry.get("subArchitectures") or [])]
    return [str(name) for name in document.get("architectures") or [_NATIVE]]


def _rule(entry: Mapping[str, Any]) -> Json:
    names = entry.get("names") or [entry["name"]]
    rule: Json = {"names": [str(name) for name in names], "action": str(entry["action"])}
    if entry.get("errnoRet") is not None:
        rule["errnoRet"] = _integer(entry["errnoRet"])
    if entry.get("args"):
        rule["args"] = [
            {
                "index": _integer(arg["index"]),
                "value": _integer(arg["value"]),
                "valueTwo": _integer(arg.get("valueTwo") or 0),
                "op": str(arg["op"]),
            }
            for arg in entry["args"]
        ]
    return rule


def _applies(entry: Mapping[str, Any], capabilities: frozenset[str], kernel: tuple[int, int]) -> bool:
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    if includes.get("arches") and _ARCHITECTURE not in includes["arches"]:
        return False
    if not set(includes.get("caps") or ()) <= capabilities:
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    if _ARCHITECTURE in (excludes.get("arches") or ()):
        return False
    if capabilities & set(excludes.get("caps") or ()):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _version(release: str) -> tuple[int, int]:
    match = _RELEASE.match(release)
    if match is None:
        raise ValueError(f"{release[:50]!r} is no kernel version")
    return int(match[1]), int(match[2])


def _integer(value: object) -> int:
    """`int` would also take texts, in any script, and fractions."""
    if type(value) is not int:
        raise ValueError(f"{str(value)[:50]!r} is no integer")
    return value
