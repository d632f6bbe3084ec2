# SPDX-License-Identifier: Apache-2.0
"""`python -m bench [--only PART,…] [--full]`: what is promised, measured beside its peers in one session."""

from __future__ import annotations

import json
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from bench.machine import BUSY, describe, load
from bench.marks import judge
from bench.options import parse
from bench.parts import PARTS
from bench.report import markdown
from bench.session import session
from tests.support.namespaces import enter_private_network


def main() -> None:
    chosen, options, output = parse({name: text for name, (_, text) in PARTS.items()})
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    enter_private_network()
    if load() > BUSY:
        print(f"warning: the load is {load()}; times that are measured now are not to be trusted")
    result: dict[str, Any] = {
        "machine": describe(),
        "options": options.told(),
        "parts": {},
        "left_out": {},
        "failed": {},
    }
    result["load"] = {"before": load(), "parts": {}}
    for name in chosen:
        print(f"{name}: {PARTS[name][1]} …", flush=True)
        before = load()
        with session(options) as peers:
            try:
                result["parts"][name] = PARTS[name][0](peers)
            except Exception as error:
                traceback.print_exc()
                result["failed"][name] = f"{type(error).__name__}: {error}"
        result["left_out"] |= peers.left_out
        result["load"]["parts"][name] = (before, load())
        _save(result, output)
    print(markdown(result))
    sys.exit(1 if result["failed"] else 0)


def _interrupted(number: int, _: object) -> None:
    """End, and clean up on the way. Who asks twice (as `timeout` does) shall not interrupt that."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: None)  # not SIG_IGN, which programs that are started now would inherit
    sys.exit(128 + number)


def _save(result: dict[str, Any], output: Path) -> None:
    """After every part: what an interrupted run has found is kept."""
    result["load"]["after"] = load()
    result["marks"] = judge(result["parts"])
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    output.with_suffix(".md").write_text(markdown(result))


if __name__ == "__main__":
    main()
