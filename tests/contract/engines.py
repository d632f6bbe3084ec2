# SPDX-License-Identifier: Apache-2.0
"""Scenarios at an engine, and what the reference answered to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.contract.scenarios import SCENARIOS
from tests.contract.talk import Steps, talking

RECORDED = Path(__file__).parent / "recorded"
REFERENCE = RECORDED / "reference.json"
"""Which dockerd it was."""


def play(name: str, socket: Path) -> Steps:
    """One scenario at the engine that serves at *socket*."""
    with talking(socket) as talk:
        SCENARIOS[name](talk)
    # Just as it is when it was kept.
    return dict(json.loads(json.dumps(talk.steps)))


def file_of(name: str) -> Path:
    """Where the answers to a scenario are kept, with those to others of its module."""
    return RECORDED / f"{name.partition('.')[0]}.json"


def recorded(name: str) -> Steps:
    found: dict[str, Any] = json.loads(file_of(name).read_text())
    return dict(found[name])
