# SPDX-License-Identifier: Apache-2.0
"""A hypercelld of its own: private directories, bridge and subnet; started, killed and started again at will."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypercell.backends.network import links
from hypercell.backends.network.rules import is_bridge_name
from hypercell.vm.records import HALF_MADE

_REPOSITORY = Path(__file__).resolve().parents[2]


class Daemon:
    """`start` and `stop` or `kill` it any number of times; `destroy` removes everything that it and its VMs are."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.directory = directory
        self.root, self.run = directory / "root", directory / "run"
        self.log = directory / "hypercelld.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.settings: dict[str, Any] = {
            "root": str(self.root),
            "run": str(self.run),
            "bridge": f"hct{os.getpid()}"[:15],
            "subnet": "172.31.0.0/16",
            "qemu": os.environ.get("HYPERCELL_QEMU", "auto"),
            **settings,
        }

    @property
    def socket(self) -> Path:
        return self.run / "hypercell.sock"

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    @property
    def environment(self) -> dict[str, str]:
        """For docker's CLI and ours."""
        return {**os.environ, "DOCKER_HOST": self.host, "HYPERCELL_HOST": self.host}

    def start(self, timeout: float = 30.0) -> Daemon:
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "hypercell.toml"
        config.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in self.settings.items()))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hypercell.api.daemon", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=_REPOSITORY,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the daemon did not come up:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)
        return self

    def _answers(self) -> bool:
        try:
            return self.call("GET", "/_ping")[0] == 200
        except OSError:
            return False

    def call(self, method: str, path: str, body: Any = None, timeout: float = 60.0) -> tuple[int, Any]:
        """(status, decoded JSON or text)."""
        connection = http.client.HTTPConnection("hypercell", timeout=timeout)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(timeout)
        connection.sock.connect(str(self.socket))
        with contextlib.closing(connection):
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            data = answer.read()
            try:
                return answer.status, json.loads(data) if data else None
            except ValueError:
                return answer.status, data.decode(errors="replace")

    def docker(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """The stock docker CLI at this daemon."""
        return self._command("docker", *arguments, check=check, **options)

    def hypercell(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Our CLI at this daemon."""
        return self._command(sys.executable, "-m", "hypercell.cli.main", *arguments, check=check, **options)

    def _command(self, *words: str, check: bool, **options: Any) -> subprocess.CompletedProcess[str]:
        options.setdefault("timeout", 100)
        done = subprocess.run(words, check=False, capture_output=True, text=True, env=self.environment, **options)
        if check and done.returncode != 0:
            said = f"{done.stdout}{done.stderr}\n{self.log.read_text()[-4000:]}"
            raise AssertionError(f"{' '.join(words)} ended with {done.returncode}:\n{said}")
        return done

    def background(self, *arguments: str) -> subprocess.Popen[bytes]:
        """The docker CLI, not waited for."""
        return subprocess.Popen(
            ["docker", *arguments], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def leftovers(self) -> list[str]:
        """What stays on this machine of containers that this daemon does not know. The end of a VM takes a moment."""
        deadline = time.monotonic() + 20
        while (found := self._unknown()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _unknown(self) -> list[str]:
        known = {item["Id"] for item in self.call("GET", "/containers/json?all=1")[1]}
        known |= self._templates()
        found = [
            str(path) for place in ("vms", "containers") for path in self._entries(place) if path.name not in known
        ]
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if "qemu-system" in words and str(self.directory) in words and not any(name in words for name in known):
                    found.append(words[:200])
        return found

    def _templates(self) -> set[str]:
        """Ids of the VMs that this very daemon forks others of: they stand still while it lives."""
        found = set()
        for path in self._entries("vms"):
            with contextlib.suppress(OSError, ValueError):
                pid = json.loads((path / "vm.json").read_text())["pid"]
                parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
                if (path / HALF_MADE).exists() and self.process is not None and int(parent) == self.process.pid:
                    found.add(path.name)
        return found

    def _entries(self, place: str) -> list[Path]:
        parent = self.run / place if place == "vms" else self.root / place
        return [path for path in parent.iterdir() if not path.name.startswith(".")] if parent.exists() else []

    def stop(self) -> None:
        """SIGTERM: containers go on."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: containers go on, and nothing could be tidied up."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def destroy(self) -> None:
        """Remove every container through the API, end the daemon, then take away bridge, rules and files."""
        try:
            if self.process is None or self.process.poll() is not None:
                self.start()
            for item in self.call("GET", "/containers/json?all=1")[1]:
                self.call("DELETE", f"/containers/{item['Id']}?force=1")
        finally:
            self.stop()
            bridge = self.settings["bridge"]
            for link in links.names():
                if link == bridge or is_bridge_name(bridge, link):
                    links.delete_bridge(link)
            table = "hypercell_" + bridge
            for family in ("bridge", "ip"):
                subprocess.run(["nft", "delete", "table", family, table], check=False, capture_output=True)
            shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def running(directory: Path, **settings: Any) -> Iterator[Daemon]:
    daemon = Daemon(directory, **settings)
    try:
        yield daemon.start()
    finally:
        daemon.destroy()


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)
