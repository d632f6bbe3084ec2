# SPDX-License-Identifier: Apache-2.0
"""docs/clones.md has a policy and a test for every hazard, and the tests exist."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "clones.md").read_text()
HAZARDS = re.findall(r"^\| (.*?) \| (.*?) \| (.*) \|$", TEXT.partition("## Hazards")[2], re.MULTILINE)[2:]
NAMED = sorted(set(re.findall(r"`([\w/.]+)::([\w*]+)`", TEXT)))


@pytest.mark.parametrize(("file", "pattern"), NAMED, ids=lambda value: value)
def test_a_test_that_is_named_exists(file: str, pattern: str) -> None:
    text = (ROOT / "tests" / file).read_text()
    names = re.findall(r"^\s*(?:async )?def (test_\w+)", text, re.MULTILINE)
    assert any(fnmatchcase(name, pattern) for name in names)


@pytest.mark.parametrize(("hazard", "policy", "tests"), HAZARDS, ids=[hazard[:40] for hazard, _, _ in HAZARDS])
def test_a_hazard_has_a_policy_and_a_test(hazard: str, policy: str, tests: str) -> None:
    assert policy.strip()
    assert "::test_" in tests or tests == "does not apply"
