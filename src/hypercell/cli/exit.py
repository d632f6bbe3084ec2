# SPDX-License-Identifier: Apache-2.0
"""Ending with a container's own exit code."""

from __future__ import annotations


class Exit(Exception):
    """Leave the command with *code*."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
