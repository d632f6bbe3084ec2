# SPDX-License-Identifier: Apache-2.0
"""The distribution's dockerd with directories of its own, and its containers by runc or by gVisor's runsc."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

from bench import processes
from bench.engine import Engine, EngineError
from bench.peers.engine_api import EngineApi, LeftOut
from tests.support.dockerd import DockerdProcess, Unavailable


class Dockerd(EngineApi):
    name = "dockerd"

    def __init__(self, directory: Path) -> None:
        # gVisor takes a namespace of a newer kernel for the machine's own, and refuses to bring a network up in it.
        runsc = shutil.which("runsc")
        runtimes = {"runsc": {"path": runsc, "runtimeArgs": ["--network=none"]}} if runsc else {}
        self._process = DockerdProcess(directory, runtimes=runtimes)
        self.socket = self._process.socket
        self.engine = Engine(self.socket)
        self.host: dict[str, Any] = {}

    def __enter__(self) -> Dockerd:
        try:
            self._process.start()
        except Unavailable as error:
            raise LeftOut(str(error)) from error
        try:
            self.import_image()
            self.engine.remove(self.sleeper())
        except EngineError as error:
            self.__exit__()
            raise LeftOut(str(error)) from error
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, EngineError):
            self.remove_all()
        self.engine.close()
        self._process.stop()

    def daemon_pids(self) -> list[int]:
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
