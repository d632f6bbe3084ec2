# SPDX-License-Identifier: Apache-2.0
"""The command, run within the test's own process."""

from __future__ import annotations

import sys

import pytest

from hypercell.cli.main import main


def ends_with(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    """Its exit code. Its standard input is no terminal."""
    monkeypatch.setattr(sys, "argv", ["hypercell", *words])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code
