# SPDX-License-Identifier: Apache-2.0
"""The command's entry. Little happens here, so that ctrl-C ends the command quietly while all else is loaded."""

from __future__ import annotations

try:
    from hypercell.cli.interrupt import DeadlyInterrupts

    with DeadlyInterrupts():
        from hypercell.cli.command import cli, main
except KeyboardInterrupt:
    raise SystemExit(130) from None

__all__ = ["cli", "main"]

if __name__ == "__main__":
    main()
