# SPDX-License-Identifier: Apache-2.0
"""The distribution's dockerd with directories of its own, and its containers by runc or by gVisor's runsc."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from bench import processes
from bench.engine import Engine, EngineError
from bench.peers.engine_api import EngineApi, LeftOut

_PATIENCE = 30.0


class Dockerd(EngineApi):
    name = "dockerd"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = directory / "docker.sock"
        self.host: dict[str, Any] = {}

    def __enter__(self) -> Dockerd:
        if shutil.which("dockerd") is None:
            raise LeftOut("it is not installed (apt-get install docker.io)")
        self._directory.mkdir(parents=True)
        try:
            self._spawn()
            self.import_image()
            self.engine.remove(self.sleeper())
        except EngineError as error:
            self.__exit__()
            raise LeftOut(str(error)) from error
        except BaseException:
            self.__exit__()
            raise
        return self

    def _spawn(self) -> None:
        log = self._directory / "dockerd.log"
        # gVisor takes a namespace of a newer kernel for the machine's own, and refuses to bring a network up in it.
        runsc = shutil.which("runsc")
        runtimes = {"runsc": {"path": runsc, "runtimeArgs": ["--network=none"]}} if runsc else {}
        settings = self._directory / "daemon.json"
        settings.write_text(json.dumps({"runtimes": runtimes}))
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    "dockerd",
                    f"--data-root={self._directory / 'root'}",
                    f"--exec-root={self._directory / 'exec'}",
                    f"--pidfile={self._directory / 'pid'}",
                    f"--host=unix://{self.socket}",
                    "--bip=172.29.0.1/16",
                    f"--config-file={settings}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.engine = Engine(self.socket)
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self.engine.call("GET", "/_ping")
                return
            except OSError:
                self.engine.close()
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise LeftOut(f"it does not come up: {log.read_text()[-300:]}")
            time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        with contextlib.suppress(OSError, EngineError):
            self.remove_all()
        self.engine.close()
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        # A start that failed may leave its shim and sandbox behind.
        for pid in processes.mentioning(str(self._directory)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Its own are unmounted by it; what a killed one left would keep the directory from going.
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{self._directory}/"):
                subprocess.run(["umount", "-l", line.split()[1]], check=False, capture_output=True)

    def daemon_pids(self) -> list[int]:
        assert self._process is not None
        return [self._process.pid, *processes.children(self._process.pid)]

    def container_pids(self, identifier: str) -> list[int]:
        """The container's first process and its shim."""
        pid = int(self.engine.inspect(identifier)["State"]["Pid"])
        return [pid, processes.parent(pid)]


class Gvisor(EngineApi):
    """The containers of *dockerd* that gVisor runs."""

    name = "gVisor (without a network)"

    def __init__(self, dockerd: Dockerd) -> None:
        self._dockerd = dockerd
        self.engine, self.socket = dockerd.engine, dockerd.socket
        self.host: dict[str, Any] = {"Runtime": "runsc"}

    def __enter__(self) -> Gvisor:
        if shutil.which("runsc") is None:
            raise LeftOut("it is not installed (apt-get install runsc)")
        identifier = self.create("true")
        try:
            self.engine.start(identifier)
            if (code := self.engine.wait(identifier)) != 0:
                raise LeftOut(f"`true` ends with {code}")
        except EngineError as error:
            raise LeftOut(str(error)) from error
        finally:
            self.engine.remove(identifier)
        return self

    def __exit__(self, *_: object) -> None:
        """Its containers go with those of its dockerd."""

    def command_line(self, *words: str) -> list[str]:
        return super().command_line("--runtime=runsc", *words)

    def daemon_pids(self) -> list[int]:
        return self._dockerd.daemon_pids()

    def container_pids(self, identifier: str) -> list[int]:
        """The shim and all below it: sandbox and gofer."""
        shim = processes.parent(int(self.engine.inspect(identifier)["State"]["Pid"]))
        found = [shim]
        for pid in found:
            found += processes.children(pid)
        return found
