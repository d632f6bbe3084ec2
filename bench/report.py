# SPDX-License-Identifier: Apache-2.0
"""The result as a page to read: the marks first, then what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.machine import BUSY
from bench.marks import DOCKERD
from bench.parts import PARTS


def markdown(result: dict[str, Any]) -> str:
    parts = result["parts"]
    sections = [_head(result), _marks(result["marks"])]
    sections += [TABLES[name](parts[name]) for name in TABLES if parts.get(name)]
    return "\n\n".join(sections) + "\n"


def _head(result: dict[str, Any]) -> str:
    machine, loads = result["machine"], result["load"]
    lines = [
        "# Benchmark results",
        "",
        f"{machine['time']}: {machine['cores']} × {machine['cpu']}, {machine['memory_mib']} MiB, "
        f"Linux {machine['kernel']}, load {loads['before']:.1f} before and {loads['after']:.1f} after.",
        "",
        "; ".join(f"{name}: {said}" for name, said in machine["versions"].items()) + ".",
    ]
    for name, (before, _) in loads["parts"].items():
        if before > BUSY:
            lines += ["", f"**{name}: the machine was busy (load {before:.1f}); do not trust times.**"]
    for name, why in result["left_out"].items():
        lines += ["", f"{name} was left out: {why}"]
    for name, why in result["failed"].items():
        lines += ["", f"**{name} failed**: {why}"]
    return "\n".join(lines)


def _marks(marks: Sequence[dict[str, Any]]) -> str:
    words = {True: "met", False: "**missed**", None: "not measured"}
    rows = (
        (
            mark["number"],
            mark["text"],
            "" if mark["value"] is None else f"{mark['value']:g}",
            f"≤ {mark['limit']:g} {mark['unit']}".strip(),
            words[mark["met"]] + (f" ({mark['scope']})" if mark["scope"] else ""),
        )
        for mark in marks
    )
    return "## Marks\n\n" + _table(("", "", "measured", "mark", ""), rows)


def _starts(part: dict[str, Any]) -> str:
    steps = ("create", "start", "wait", "remove")
    rows = (
        (name, *_of(found["total"]), *(found[step]["median"] if step in found else "" for step in steps), _ways(found))
        for name, found in part.items()
    )
    text = _section("starts", "milliseconds", ("min", "median", "p99", *steps, "ways"), rows)
    told = {name: found["steps"] for name, found in part.items() if found["steps"]}
    for name, found in told.items():
        text += f"\n\n{name}, by its own trace (medians): "
        text += ", ".join(f"{step} {took}" for step, took in found.items()) + "."
    return text


def _run(part: dict[str, Any]) -> str:
    return _section("run", "milliseconds", ("min", "median", "p99"), ((name, *_of(one)) for name, one in part.items()))


def _exec(part: dict[str, Any]) -> str:
    head = ("API min", "median", "p99", "CLI min", "median", "p99")
    rows = ((name, *_of(part["api"][name]), *_of(part["cli"][name])) for name in part["api"])
    return _section("exec", "milliseconds", head, rows)


def _streams(part: dict[str, Any]) -> str:
    """Medians, and how many times dockerd's."""

    def cell(kind: str, peer: str) -> str:
        rate, reference = part[kind][peer]["median"], part[kind].get(DOCKERD, {}).get("median")
        return f"{rate:.0f}" + (f" ({rate / reference:.2f} ×)" if reference and peer != DOCKERD else "")

    rows = ((peer, *(cell(kind, peer) for kind in part)) for peer in next(iter(part.values())))
    return _section("streams", "MB/s, medians", list(part), rows)


def _burst(part: dict[str, Any]) -> str:
    rows = (
        (f"{name}: {count}", found["all"], found["each"]["median"], _ways(found))
        for count, peers in part.items()
        for name, found in peers.items()
    )
    return _section("burst", "seconds", ("all running", "median of one", "ways"), rows)


def _idle(part: dict[str, Any]) -> str:
    rows = (
        (f"{kind}: {name}", found["among"], found["each"], found["cpu"], found["daemon"])
        for kind, peers in part.items()
        for name, found in peers.items()
    )
    return _section("idle", "PSS, MB", ("among", "each", "% of a core each", "daemon"), rows)


def _plain(name: str, unit: str) -> Any:
    """Of a part whose peers have simple figures."""

    def section(part: dict[str, Any]) -> str:
        head = list(next(iter(part.values())))
        rows = (
            (peer, *(_ways(found) if key == "ways" else found[key] for key in head)) for peer, found in part.items()
        )
        return _section(name, unit, [key.replace("_", " ") for key in head], rows)

    return section


def _records(part: dict[str, Any]) -> str:
    kinds = ("list", "start", "stop")
    head = [f"{kind} {figure}" for kind in kinds for figure in ("median", "p99")]
    rows = (
        (found["containers"], *(found[kind][figure] for kind in kinds for figure in ("median", "p99")))
        for found in part.values()
    )
    return _section("records", "milliseconds", head, rows)


TABLES = {
    "starts": _starts,
    "run": _run,
    "exec": _exec,
    "streams": _streams,
    "burst": _burst,
    "idle": _idle,
    "many": _plain("many", "MB"),
    "cost": _plain("cost", "ms, MB"),
    "churn": _plain("churn", "a second, MB"),
    "records": _records,
}


def _section(name: str, unit: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = PARTS[name][1]
    return f"## {name}: {text} ({unit})\n\n" + _table(("", *head), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _of(found: dict[str, float]) -> tuple[float, float, float]:
    return found["min"], found["median"], found["p99"]


def _ways(found: dict[str, Any]) -> str:
    return ", ".join(f"{way} {count}" for way, count in found.get("ways", {}).items())
