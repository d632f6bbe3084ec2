# SPDX-License-Identifier: Apache-2.0
"""Modes that name another container, `container:<name or id>`, whose namespace is joined."""

from __future__ import annotations

from collections.abc import Mapping

from hypercell.base.errors import InvalidArgument

MODES = {"NetworkMode": "network", "PidMode": "pid", "IpcMode": "ipc"}
"""docker's modes that can, and OCI's names of the namespaces."""
PREFIX = "container:"
_WORDS = {"NetworkMode": "Invalid network mode", "PidMode": "invalid PID mode", "IpcMode": "invalid IPC mode"}
_LONGEST = 255


def parse_joins(modes: Mapping[str, str]) -> dict[str, str]:
    """`ContainerRequest.joins` of a request's *modes*."""
    found = {}
    for name, namespace in MODES.items():
        mode = modes.get(name, "")
        if not mode.startswith(PREFIX):
            continue
        ref = mode.removeprefix(PREFIX)
        if not ref or len(ref) > _LONGEST or not ref.isprintable():
            raise InvalidArgument(f"{_WORDS[name]}: invalid container format container:<name|id>")
        found[namespace] = ref.removeprefix("/")
    return found


def shown_modes(joins: Mapping[str, str]) -> dict[str, str]:
    """As dockerd shows them: with the id."""
    return {name: f"{PREFIX}{joins[kind]}" for name, kind in MODES.items() if kind in joins}
