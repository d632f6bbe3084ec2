# SPDX-License-Identifier: Apache-2.0
"""Two conversations side by side: every place where the answers differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.contract.talk import Steps

ABSENT = "absent"
_SHOWN = 300


@dataclass(frozen=True)
class Found:
    """One difference between the answers to the same request."""

    step: str
    """`scenario: step`."""
    member: str
    """Where in the answer: `status`, `type`, or a path such as `body.HostConfig.Memory` or `body.0.Names`."""
    reference: str
    ours: str

    def __str__(self) -> str:
        return f"{self.step}\n    {self.member}\n    dockerd:   {self.reference}\n    hypercell: {self.ours}"


def differences(scenario: str, reference: Steps, ours: Steps) -> Iterator[Found]:
    for title in dict.fromkeys((*reference, *ours)):
        step = f"{scenario}: {title}"
        if title not in ours or title not in reference:
            yield Found(step, "step", str(title in reference), str(title in ours))
            continue
        one, other = reference[title], ours[title]
        if one["status"] != other["status"]:
            # Nothing else can be alike: what was said explains it.
            yield Found(step, "status", _brief(one), _brief(other))
        else:
            yield from _values(step, "", one, other)


def _values(step: str, path: str, one: Any, other: Any) -> Iterator[Found]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            inner = f"{path}.{key}".removeprefix(".")
            if key in one and key in other:
                yield from _values(step, inner, one[key], other[key])
            else:
                yield Found(step, inner, _shown(one, key), _shown(other, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _values(step, f"{path}.{number}", left, right)
    elif (one != other or isinstance(one, bool) != isinstance(other, bool)) and not _with_a_hint(path, one, other):
        yield Found(step, path, _text(one), _text(other))


def _with_a_hint(path: str, one: Any, other: Any) -> bool:
    """Whether a message says what dockerd's does, and then what to do next."""
    if not (path.endswith(("message", "error", "Error")) and isinstance(one, str) and isinstance(other, str)):
        return False
    return other.startswith((f"{one}: ", f"{one}. "))


def _brief(step: dict[str, Any]) -> str:
    return f"{step['status']} {_text(step['body'])}" if step.get("body") is not None else str(step["status"])


def _shown(value: dict[str, Any], key: str) -> str:
    return _text(value[key]) if key in value else ABSENT


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
