# SPDX-License-Identifier: Apache-2.0
"""The options of `run` and `create` for health checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from hypercell.base.durations import parse_duration


def _nanoseconds(_context: click.Context, _option: click.Parameter, value: str) -> int:
    try:
        duration = parse_duration(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no duration: write it as 30s, 1m30s or 500ms") from None
    if duration < 0:
        raise click.BadParameter("cannot be negative")
    return duration


def _time(option: str, help_text: str) -> Callable[[Any], Any]:
    return click.option(option, callback=_nanoseconds, default="0", metavar="DURATION", help=help_text)


OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--health-cmd", default="", metavar="COMMAND", help="Shell command that succeeds while it is well."),
    _time("--health-interval", "Time between two checks (default 30s)."),
    _time("--health-timeout", "Longest that a check may take (default 30s)."),
    _time("--health-start-period", "Time to start up, in which failures do not count (default 0s)."),
    _time("--health-start-interval", "Time between two checks meanwhile (default 5s)."),
    click.option(
        "--health-retries",
        type=click.IntRange(min=0),
        default=0,
        metavar="NUMBER",
        help="Failures in a row that make it unhealthy (default 3).",
    ),
    click.option("--no-healthcheck", is_flag=True, help="Do not run the health check of the image."),
)


def health_check(options: dict[str, Any]) -> dict[str, Any] | None:
    """`Healthcheck` of a create request; None when no option speaks of it."""
    command = options["health_cmd"]
    check = {
        "Test": ["CMD-SHELL", command] if command else None,
        "Interval": options["health_interval"],
        "Timeout": options["health_timeout"],
        "StartPeriod": options["health_start_period"],
        "StartInterval": options["health_start_interval"],
        "Retries": options["health_retries"],
    }
    asked = any(check.values())
    if not options["no_healthcheck"]:
        return check if asked else None
    if asked:
        raise click.UsageError("--no-healthcheck conflicts with --health-* options")
    return {"Test": ["NONE"]}
