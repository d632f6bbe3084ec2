# SPDX-License-Identifier: Apache-2.0
"""`python -m bench [--rounds N] [--output FILE]`: starts, memory and the daemon's cost, beside runc and dockerd."""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.machine import describe
from bench.measure import daemon_cost, memory_of, start_times
from bench.peers import Dockerd, EngineApi, Hypercell, Runc
from bench.report import markdown, summary
from tests.support.namespaces import enter_private_network

_RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="starts of each peer (default 15)")
    parser.add_argument("--vms", type=int, default=10, help="idle containers for the memory figure (default 10)")
    parser.add_argument("--output", type=Path, default=_RESULTS / "latest.json")
    options = parser.parse_args()
    enter_private_network()
    with tempfile.TemporaryDirectory(prefix="hypercell-bench-") as name, contextlib.ExitStack() as stack:
        peers = list(_peers(Path(name), stack))
        result = {"machine": describe(), "starts": start_times(peers, options.rounds)}
        engines = [peer for peer in peers if isinstance(peer, EngineApi)]
        result["memory"] = {peer.name: memory_of(peer, options.vms) for peer in engines}
        result["daemon"] = {peer.name: daemon_cost(peer, options.rounds) for peer in engines}
        result["machine"]["load_after"] = describe()["load"]
    result["summary"] = summary(result)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    options.output.with_suffix(".md").write_text(markdown(result))
    print(markdown(result))


def _peers(directory: Path, stack: contextlib.ExitStack) -> Iterator[Runc | EngineApi]:
    """Everything that this machine can run; a peer that cannot start is named and left out."""
    for kernel in ("own", "distribution"):
        if (Path("build/guest") / kernel / "vmlinux").exists():
            yield stack.enter_context(Hypercell(directory / kernel, kernel))
        else:
            print(f"hypercell ({kernel} kernel): left out, it is not built (make kernel)")
    yield stack.enter_context(Runc(directory / "runc"))
    try:
        yield stack.enter_context(Dockerd(directory / "dockerd"))
    except (OSError, RuntimeError) as error:
        print(f"dockerd: left out, {error}")


if __name__ == "__main__":
    main()
