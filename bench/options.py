# SPDX-License-Identifier: Apache-2.0
"""How much is measured: quick by default, everything that is promised with `--full`."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "latest.json"


@dataclass(frozen=True, slots=True)
class Options:
    """The defaults are the quick run's."""

    rounds: int = 12
    """Samples of each peer, of whatever is timed one by one."""
    stream: int = 16
    """MiB that are carried in each sample of streams."""
    burst: tuple[int, ...] = (50,)
    """Containers requested at once."""
    idle: int = 20
    """Idle containers among which one is weighed."""
    idle_seconds: float = 5.0
    """How long their processor time is watched."""
    many: int = 40
    """Containers that run at once, and that all answer."""
    minutes: float = 0.5
    """Of churn."""
    records: int = 500
    """Containers of the fake driver."""

    def told(self) -> dict[str, Any]:
        return asdict(self)


QUICK = Options()
FULL = Options(rounds=100, stream=32, burst=(50, 100), idle=20, idle_seconds=30.0, many=300, minutes=20.0, records=5000)


def parse(parts: dict[str, str], arguments: list[str] | None = None) -> tuple[list[str], Options, Path]:
    """(the parts to run, how much of each, where the result goes)."""
    listed = "\n".join(f"  {name:10} {text}" for name, text in parts.items())
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measure what is promised, beside dockerd, runc and gVisor.",
        epilog=f"parts:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="PART,…", help="run these parts alone")
    parser.add_argument("--full", action="store_true", help="all of it, in the numbers that are promised (an hour)")
    parser.add_argument("--rounds", type=int, help=f"samples of each peer (default {QUICK.rounds}, {FULL.rounds})")
    parser.add_argument("--stream", type=int, help=f"MiB of a stream (default {QUICK.stream}, {FULL.stream})")
    parser.add_argument("--burst", type=_numbers, metavar="N,…", help="containers requested at once (50 and 50,100)")
    parser.add_argument("--idle", type=int, help=f"idle containers (default {QUICK.idle}, {FULL.idle})")
    parser.add_argument("--many", type=int, help=f"containers at once (default {QUICK.many}, {FULL.many})")
    parser.add_argument("--minutes", type=float, help=f"of churn (default {QUICK.minutes}, {FULL.minutes})")
    parser.add_argument("--records", type=int, help=f"fake containers (default {QUICK.records}, {FULL.records})")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the result, as JSON; a page is put beside it")
    given = parser.parse_args(arguments)
    chosen = given.only.split(",") if given.only else list(parts)
    unknown = [name for name in chosen if name not in parts]
    if unknown:
        parser.error(f"no part is called {', '.join(unknown)}; parts are {', '.join(parts)}")
    overrides = {
        item.name: getattr(given, item.name) for item in fields(Options) if getattr(given, item.name, None) is not None
    }
    return chosen, replace(FULL if given.full else QUICK, **overrides), given.output


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))
