# SPDX-License-Identifier: Apache-2.0
"""What differs from run to run becomes a placeholder: ids, times, addresses, sizes, versions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

NEVER = "0001-01-01T00:00:00Z"
_TEXTS = (
    (re.compile(r"sha256:[0-9a-f]{64}"), "<digest>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"/netns/[0-9a-f]{12}\b|/docker-import-\d+\b"), "/<file>"),
    (re.compile(r"\b172\.(25|30|31)\.\d+\.\d+\b"), "<address>"),
    (re.compile(r"\b(02|[0-9a-f]{2})(:[0-9a-f]{2}){5}\b"), "<mac>"),
    (re.compile(r"\b(Less than a second|About a minute|\d+ (seconds?|minutes?))\b"), "<moments>"),
)
_MOMENTS = frozenset(("Created", "time", "timeNano"))
_AMOUNTS = frozenset(("Size", "VirtualSize", "SizeRw", "SizeRootFs", "LayersSize", "SpaceReclaimed", "Pid"))
_UNORDERED = frozenset(("Ports", "RepoTags", "Warnings", "VolumesDeleted", "NetworksDeleted", "ContainersDeleted"))
_PORT = re.compile(r"(3[2-9]|4\d|5\d|6[0-5])\d{3}")


class Labels:
    """Ids that have a meaning in a scenario, and what they are called there."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def add(self, value: str, label: str) -> None:
        """An id, and its first twelve digits."""
        self._known[value] = f"<{label}>"
        self._known[value.removeprefix("sha256:")[:12]] = f"<short {label}>"

    def add_path(self, path: Path) -> None:
        """The directory in which the engine keeps its own."""
        self._known[str(path)] = "<engine>"

    def apply(self, text: str) -> str:
        for value in sorted(self._known, key=len, reverse=True):
            text = text.replace(value, self._known[value])
        return text


def normal(value: Any, labels: Labels, name: str = "") -> Any:
    if isinstance(value, dict):
        return {labels.apply(_text(key)): normal(item, labels, key) for key, item in value.items()}
    if isinstance(value, list):
        items = [normal(item, labels) for item in value]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True)) if name in _UNORDERED else items
    if isinstance(value, str):
        if name in ("HostPort", "PublicPort") and _PORT.fullmatch(value):
            return "<port>"
        return _text(labels.apply(value))
    if isinstance(value, int) and not isinstance(value, bool):
        if name in _MOMENTS:
            return "<moment>"
        if name in _AMOUNTS and value > 0:
            return "<amount>"
        if name == "PublicPort" and _PORT.fullmatch(str(value)):
            return "<port>"
    return value


def _text(text: str) -> str:
    if text == NEVER:
        return text
    for pattern, placeholder in _TEXTS:
        text = pattern.sub(placeholder, text)
    return text
