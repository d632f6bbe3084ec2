# SPDX-License-Identifier: Apache-2.0
"""The distribution's dockerd with directories and a network of its own: a reference for the Engine API."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PATIENCE = 30.0


class Unavailable(Exception):
    """It cannot run on this machine; the words say why."""


class DockerdProcess:
    """To be started in a network namespace of one's own: it makes a bridge and rules of a firewall."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        """*directory* must not be there yet. *settings*: what its daemon.json says."""
        self.directory, self._settings = directory, settings
        self.socket = directory / "docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Raises `Unavailable`."""
        if shutil.which("dockerd") is None:
            raise Unavailable("it is not installed (apt-get install docker.io)")
        self.directory.mkdir(parents=True)
        log = self.directory / "dockerd.log"
        settings = self.directory / "daemon.json"
        settings.write_text(json.dumps(self._settings))
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    "dockerd",
                    f"--data-root={self.directory / 'root'}",
                    f"--exec-root={self.directory / 'exec'}",
                    f"--pidfile={self.directory / 'pid'}",
                    f"--host=unix://{self.socket}",
                    "--bip=172.25.0.1/16",  # of no test's daemon, whose network namespace this may be
                    f"--config-file={settings}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise Unavailable(f"it does not come up: {log.read_text()[-300:]}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("dockerd", timeout=_PATIENCE)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(self.socket))
            connection.request("GET", "/_ping")
            return connection.getresponse().status == 200
        return False

    def stop(self) -> None:
        """With all its processes and mounts; its containers should be gone before."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        # A start that failed may leave its shim and sandbox behind.
        for pid in _mentioning(str(self.directory)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Its own are unmounted by it; what a killed one left would keep the directory from going.
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{self.directory}/"):
                subprocess.run(["umount", "-l", line.split()[1]], check=False, capture_output=True)


@contextlib.contextmanager
def running_dockerd(directory: Path) -> Iterator[DockerdProcess]:
    """Started, and stopped at the end. Raises `Unavailable`."""
    dockerd = DockerdProcess(directory)
    dockerd.start()
    try:
        yield dockerd
    finally:
        dockerd.stop()


def _mentioning(words: str) -> list[int]:
    """Processes, other than this one, on whose command line these words stand."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if words.encode() in (entry / "cmdline").read_bytes() and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found
