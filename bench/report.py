# SPDX-License-Identifier: Apache-2.0
"""The result as a page to read."""

from __future__ import annotations

from typing import Any


def summary(result: dict[str, Any]) -> dict[str, float]:
    """Ratios of medians to dockerd and runc, where they took part."""
    totals = {name: parts["total"]["median"] for name, parts in result["starts"].items()}
    return {
        f"{name} / {peer}": round(totals[name] / totals[peer], 2)
        for peer in ("dockerd", "runc")
        if peer in totals
        for name in totals
        if name.startswith("hypercell")
    }


def markdown(result: dict[str, Any]) -> str:
    machine = result["machine"]
    lines = [
        "# Benchmark results",
        "",
        f"{machine['time']}, revision {machine['revision']}: {machine['cores']} × {machine['cpu']}, "
        f"{machine['memory_mib']} MiB, Linux {machine['kernel']}, load {machine['load']:.1f} before and "
        f"{machine['load_after']:.1f} after. {machine['qemu']}; {machine['runc']}; {machine['dockerd']}.",
        "",
        "Create + start + wait of `true` over the API's socket (runc: `runc run`), milliseconds:",
        "",
        "| | min | median | p99 | create | start | wait | remove |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, parts in result["starts"].items():
        total = parts["total"]
        rest = [str(parts[part]["median"]) if part in parts else "" for part in ("create", "start", "wait", "remove")]
        lines.append(f"| {name} | {total['min']} | {total['median']} | {total['p99']} | {' | '.join(rest)} |")
    lines += ["", "| ratio of medians | |", "|---|---|"]
    lines += [f"| {name} | {ratio} |" for name, ratio in result["summary"].items()]
    lines += [
        "",
        "Memory (PSS, MiB) of a container that sleeps, and the daemon's own cost:",
        "",
        "| | containers | each | daemon with them | daemon RSS | daemon CPU ms a start |",
        "|---|---|---|---|---|---|",
    ]
    for name, memory in result["memory"].items():
        cost = result["daemon"][name]
        lines.append(
            f"| {name} | {memory['containers']} | {memory['each']} | {memory['daemon']} "
            f"| {cost['rss']} | {cost['cpu_per_start']} |"
        )
    return "\n".join(lines) + "\n"
