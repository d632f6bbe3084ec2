# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and their values as the API takes them."""

from __future__ import annotations

import time

import click

from hypercell.cli import output


def checked_template(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """A wrong template is one, be there something to print by it or not."""
    if value:
        output.check(value)
    return value


FORMAT = click.option(
    "--format", "template", metavar="table|json|TEMPLATE", callback=checked_template, help="How to print it."
)
FILTER = click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Only matching ones.")
DETACH_KEYS = click.option(
    "--detach-keys", default="ctrl-p,ctrl-q", show_default=True, help="Keys that leave it running."
)
SIG_PROXY = click.option("--sig-proxy/--no-sig-proxy", default=True, help="Pass our signals on to it.")


def filter_query(values: tuple[str, ...]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for value in values:
        key, equals, wanted = value.partition("=")
        if not equals:
            raise click.BadOptionUsage("filter", f"invalid filter {value!r}: write it as key=value")
        result.setdefault(key, []).append(wanted)
    return result


def time_query(text: str | None) -> str | None:
    """A Unix time, RFC 3339, or a span back from now (`10m`, `1h30m`) as what the API takes."""
    if not text:
        return None
    total, number = 0.0, ""
    for character in text:
        if character in "0123456789.":
            number += character
        elif character in "smhd" and number:
            total += float(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[character]
            number = ""
        else:
            break
    else:
        return text if number else f"{time.time() - total:.9f}"
    try:
        return f"{output.seconds(text):.9f}"
    except ValueError:
        raise click.UsageError(f"invalid time {text!r}: use 10m, 2026-01-31T12:00:00Z or Unix seconds") from None
