# SPDX-License-Identifier: Apache-2.0
"""runc run of the same root, with no daemon, no network and no image in the way: the floor for any runtime."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from bench.peers.engine_api import LeftOut
from tools.demo_image import layer as busybox_layer


class Runc:
    name = "runc"

    def __init__(self, directory: Path) -> None:
        self._bundle = directory
        self._count = 0

    def __enter__(self) -> Runc:
        if shutil.which("runc") is None:
            raise LeftOut("it is not installed (apt-get install runc)")
        root = self._bundle / "rootfs"
        root.mkdir(parents=True)
        subprocess.run(["tar", "-C", str(root), "-xf", "-"], input=busybox_layer(), check=True)
        subprocess.run(["runc", "spec"], cwd=self._bundle, check=True)
        config = json.loads((self._bundle / "config.json").read_text())
        config["process"].update(args=["/bin/true"], terminal=False)
        # Some hosts may not raise or lower these; they are not what is measured.
        config["process"].pop("rlimits", None)
        config["process"].pop("oomScoreAdj", None)
        (self._bundle / "config.json").write_text(json.dumps(config))
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._bundle, ignore_errors=True)

    def prepare(self) -> None:
        """There is nothing to prepare."""

    def run_true(self) -> float:
        """Milliseconds of the whole command."""
        self._count += 1
        command = ["runc", "--root", str(self._bundle / "state"), "run", f"bench-{os.getpid()}-{self._count}"]
        began = time.perf_counter()
        subprocess.run(command, cwd=self._bundle, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        return (time.perf_counter() - began) * 1000
