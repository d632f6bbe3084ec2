# SPDX-License-Identifier: Apache-2.0
"""What is compared: hypercell with each kernel, runc alone, dockerd. All in the run's own network namespace."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from bench.engine import Engine
from tests.support.daemon import Daemon
from tools.demo_image import layer as busybox_layer

IMAGE = "busybox:bench"


class EngineApi:
    """A peer that serves the Engine API."""

    name: str
    engine: Engine

    def import_image(self) -> None:
        repository, _, tag = IMAGE.partition(":")
        query = f"fromSrc=-&repo={repository}&tag={tag}&changes=ENV%20PATH%3D/bin"
        self.engine.call("POST", f"/images/create?{query}", raw=busybox_layer())

    def run_true(self) -> dict[str, float]:
        """Milliseconds of create + start + wait of `true`, and of its parts."""
        began = time.perf_counter()
        identifier = self.engine.create(IMAGE, "true")
        created = time.perf_counter()
        self.engine.start(identifier)
        started = time.perf_counter()
        code = self.engine.wait(identifier)
        ended = time.perf_counter()
        assert code == 0, code
        self.engine.remove(identifier)
        removed = time.perf_counter()
        parts = {
            "total": ended - began,
            "create": created - began,
            "start": started - created,
            "wait": ended - started,
            "remove": removed - ended,
        }
        return {part: value * 1000 for part, value in parts.items()}

    def daemon_pids(self) -> list[int]:
        raise NotImplementedError

    def container_pids(self, identifier: str) -> list[int]:
        raise NotImplementedError


class Hypercell(EngineApi):
    def __init__(self, directory: Path, kernel: str) -> None:
        self.name = f"hypercell ({kernel} kernel)"
        number = {"own": 1, "distribution": 2}[kernel]
        settings: dict[str, Any] = {"kernel": kernel, "bridge": f"hcb{number}", "subnet": f"172.2{number}.0.0/16"}
        self.daemon = Daemon(directory, **settings)

    def __enter__(self) -> Hypercell:
        self.daemon.start()
        self.engine = Engine(self.daemon.socket)
        self.import_image()
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()
        self.daemon.destroy()

    def daemon_pids(self) -> list[int]:
        assert self.daemon.process is not None
        return [self.daemon.process.pid]

    def container_pids(self, identifier: str) -> list[int]:
        return [int(self.engine.call("GET", f"/containers/{identifier}/json")["State"]["Pid"])]


class Runc:
    """runc run of the same root, with no daemon, no network and no image in the way: the floor for any runtime."""

    name = "runc"

    def __init__(self, directory: Path) -> None:
        self._bundle = directory
        self._count = 0

    def __enter__(self) -> Runc:
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
        self.run_true()
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._bundle, ignore_errors=True)

    def run_true(self) -> dict[str, float]:
        self._count += 1
        name = f"bench-{os.getpid()}-{self._count}"
        state = self._bundle / "state"
        began = time.perf_counter()
        subprocess.run(["runc", "--root", str(state), "run", name], cwd=self._bundle, check=True, capture_output=True)
        return {"total": (time.perf_counter() - began) * 1000}


class Dockerd(EngineApi):
    """Debian's dockerd with directories of its own."""

    name = "dockerd"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = directory / "docker.sock"

    def __enter__(self) -> Dockerd:
        if shutil.which("dockerd") is None:
            raise OSError("not installed (apt-get install docker.io)")
        self._directory.mkdir(parents=True)
        log = self._directory / "dockerd.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    "dockerd",
                    f"--data-root={self._directory / 'root'}",
                    f"--exec-root={self._directory / 'exec'}",
                    f"--pidfile={self._directory / 'pid'}",
                    f"--host=unix://{self._socket}",
                    "--bip=172.29.0.1/16",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.engine = Engine(self._socket)
        for _ in range(300):
            try:
                self.engine.call("GET", "/_ping")
                break
            except OSError:
                self.engine.close()
                if self._process.poll() is not None:
                    raise RuntimeError(f"it ended: {log.read_text()[-300:]}") from None
                time.sleep(0.1)
        else:
            self.__exit__()
            raise RuntimeError("it does not answer")
        try:
            self.import_image()
            self.run_true()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.engine.close()
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
            self._process = None

    def daemon_pids(self) -> list[int]:
        assert self._process is not None
        return [self._process.pid, *_children(self._process.pid)]

    def container_pids(self, identifier: str) -> list[int]:
        pid = int(self.engine.call("GET", f"/containers/{identifier}/json")["State"]["Pid"])
        shim = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        return [pid, shim]


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
