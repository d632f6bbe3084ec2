# SPDX-License-Identifier: Apache-2.0
"""How results look: tables for people, JSON lines and templates for machines; sizes and ages in docker's words."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from hypercell.cli.exit import BadTemplate

Row = Mapping[str, Any]

_FIELD = re.compile(r"\{\{\s*(json\s+)?\.([A-Za-z0-9_.]*)\s*\}\}")
# C0 and C1 controls: what a container wrote must not steer the terminal of whoever lists it.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160)) if code not in (9, 10)}


def printable(text: str) -> str:
    return text.translate(_CONTROLS)


def size(count: float, binary: bool = False, digits: int = 3) -> str:
    """`4.26MB`; binary: `19.95MiB`, always of four digits."""
    step, units = (1024, ("B", "KiB", "MiB", "GiB", "TiB")) if binary else (1000, ("B", "kB", "MB", "GB", "TB"))
    for unit in units:
        if count < step or unit == units[-1]:
            break
        count /= step
    return f"{count:.4g}{unit}" if binary else f"{count:.{digits}g}{unit}"


def span(seconds: float) -> str:
    """A length of time in docker's words."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    for limit, divisor, word in (
        (60, 1, "second"),
        (3600, 60, "minute"),
        (48 * 3600, 3600, "hour"),
        (14 * 86400, 86400, "day"),
        (60 * 86400, 7 * 86400, "week"),
        (730 * 86400, 30 * 86400, "month"),
    ):
        if whole < limit:
            count = whole // divisor
            if count == 1:
                return {"second": "1 second", "minute": "About a minute", "hour": "About an hour"}.get(
                    word, f"1 {word}"
                )
            return f"{count} {word}s"
    return f"{whole // (365 * 86400)} years"


def moment(then: float) -> str:
    """A Unix time as Go prints times; in UTC, whatever the zone here."""
    return datetime.fromtimestamp(then, UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")


def ago(then: float) -> str:
    return span(time.time() - then) + " ago"


def seconds(timestamp: str) -> float:
    """An RFC 3339 time (nanoseconds allowed) as Unix time."""
    trimmed = re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", timestamp).replace("Z", "+00:00")
    return datetime.fromisoformat(trimmed).timestamp()


def rows(values: Sequence[Row], columns: Mapping[str, str], template: str | None, quiet: str | None = None) -> None:
    """Print *values*: as a table of *columns* (field -> heading), as JSON lines, by a template, or one field only."""
    if quiet is not None:
        for value in values:
            click.echo(value[quiet])
    elif template == "json":
        for value in values:
            click.echo(json.dumps(dict(value)))
    elif template and template != "table":
        for line in _templated(values, columns, template):
            click.echo(line)
    else:
        table([list(columns.values()), *([printable(str(value[field])) for field in columns] for value in values)])


def table(lines: Iterable[Sequence[str]]) -> None:
    lines = list(lines)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = [cell.ljust(width + 3) for cell, width in zip(line[:-1], widths, strict=False)]
        click.echo("".join([*cells, line[-1]]).rstrip())


def _templated(values: Sequence[Row], columns: Mapping[str, str], template: str) -> Iterable[str]:
    template = template.replace("\\t", "\t").replace("\\n", "\n")
    if template.startswith("table "):
        body = template.removeprefix("table ")
        heading = _FIELD.sub(lambda found: columns.get(found[2], found[2].upper()), body)
        lines = [heading, *(render(body, value) for value in values)]
        table([line.split("\t") for line in lines])
        return []
    return [render(template, value) for value in values]


def check(template: str) -> None:
    """Raises `BadTemplate` for what `render` does not know of Go's language, or nobody does."""
    if "{{" in _FIELD.sub("", template):
        raise BadTemplate(
            f"failed to parse template {template!r}: only {{{{.Field}}}} and {{{{json .Field}}}} are known; "
            "use --format json and jq"
        )


def render(template: str, value: Any) -> str:
    """A template of `{{.Field.Sub}}` and `{{json .Field}}`; anything else of Go's language is refused."""
    check(template)

    def field(found: re.Match[str]) -> str:
        item = value
        for part in filter(None, found[2].split(".")):
            if not isinstance(item, Mapping) or part not in item:
                raise click.ClickException(f"template: no field {found[2]!r}")
            item = item[part]
        if found[1] or isinstance(item, dict | list):
            return json.dumps(item)
        return "true" if item is True else "false" if item is False else "" if item is None else str(item)

    return _FIELD.sub(field, template.replace("\\t", "\t").replace("\\n", "\n"))


def warn(message: str) -> None:
    click.echo(message, err=True)


def raw(stream: int, data: bytes) -> None:
    target = sys.stderr.buffer if stream == 2 else sys.stdout.buffer
    target.write(data)
    target.flush()
