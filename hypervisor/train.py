#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Let a hypervisor that counts what it does run what it will have to run: `train.py PROGRAM`.

Cold starts, programs, and ends of containers, with each kernel that is built, from a daemon of its own in a network
namespace of its own. The counts are written when a hypervisor ends in order, as its user: `USER` must be allowed to.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.engine import Engine
from hypercell.base.config import built
from tests.support.daemon import Daemon
from tests.support.namespaces import enter_private_network
from tools.demo_image import layer

USER = 2_131_071
"""Beyond those that a daemon gives out when nobody tells it otherwise."""
IMAGE = "training:latest"
PROGRAMS = (
    ("true",),
    ("sh", "-c", "for i in 1 2 3 4 5 6 7 8; do ls -lR /bin >/dev/null; echo $i | md5sum; done"),
    ("true",),
    ("sh", "-c", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done"),
    ("true",),
)


def train(program: str, kernel: str) -> None:
    with tempfile.TemporaryDirectory(prefix="hypercell-train-") as directory:
        daemon = Daemon(
            Path(directory),
            qemu=program,
            kernel=kernel,
            accelerator="tcg",
            isolation="cold",
            forks=False,
            pool_memory=0,
            bridge="hctrain",
            # One user, whose files the counts are, for one VM at a time.
            uid_base=USER,
            uid_count=1,
        )
        try:
            daemon.start()
            engine = Engine(daemon.socket)
            engine.call("POST", "/images/create?fromSrc=-&repo=training&changes=ENV%20PATH%3D/bin", raw=layer())
            for words in PROGRAMS:
                identifier = engine.create(IMAGE, *words)
                for _ in range(2):
                    engine.start(identifier)
                    if code := engine.wait(identifier):
                        raise SystemExit(f"{' '.join(words)} ended with {code}")
                    ended_in_order(daemon)
            engine.close()
        finally:
            daemon.destroy()


def ended_in_order(daemon: Daemon) -> None:
    """Return when the last VM is gone, and has written what it counted."""
    while any((daemon.run / "vms").iterdir()):
        time.sleep(0.05)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    enter_private_network()
    for kernel in ("distribution", "own"):
        if (built("guest") / kernel / "vmlinux").exists():
            print(f"training on the {kernel} kernel", flush=True)
            train(sys.argv[1], kernel)


if __name__ == "__main__":
    main()
