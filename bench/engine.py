# SPDX-License-Identifier: Apache-2.0
"""One client for every engine: the Engine API over a kept connection, as small as a client can be."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from pathlib import Path
from typing import Any

_PATIENCE = 180.0
"""Seconds for one answer."""
_KEPT = 60.0
"""Seconds after which a connection that was not used is made anew: engines close idle ones."""


class EngineError(RuntimeError):
    """The engine refused; the words are its own."""


class Engine:
    """Not to be shared by threads: `twin` makes another on the same socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: http.client.HTTPConnection | None = None
        self._used = 0.0

    def twin(self) -> Engine:
        return Engine(self._path)

    def call(self, method: str, path: str, body: Any = None, raw: bytes | None = None) -> Any:
        """The decoded answer, or its bytes when it is not JSON. Raises `EngineError`, `OSError`."""
        if time.monotonic() - self._used > _KEPT:
            self.close()
        if self._connection is None:
            self._connection = http.client.HTTPConnection("engine", timeout=_PATIENCE)
            self._connection.sock = socket.socket(socket.AF_UNIX)
            self._connection.sock.settimeout(_PATIENCE)
            self._connection.sock.connect(str(self._path))
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        kind = "application/x-tar" if raw is not None else "application/json"
        self._connection.request(method, path, data, {"Content-Type": kind} if data is not None else {})
        answer = self._connection.getresponse()
        content = answer.read()
        self._used = time.monotonic()
        if answer.will_close:
            self.close()
        if answer.status >= 400:
            raise EngineError(f"{method} {path}: {answer.status} {content.decode(errors='replace')[:300]}")
        with contextlib.suppress(ValueError):
            return json.loads(content)
        return content

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def create(self, image: str, *command: str, stdin: bool = False, **host: Any) -> str:
        """The new container's id; *host* is its HostConfig. *stdin*: it reads what its first client says."""
        body = {"Image": image, "Cmd": list(command), "OpenStdin": stdin, "StdinOnce": stdin, "HostConfig": host}
        return str(self.call("POST", "/containers/create", body)["Id"])

    def start(self, identifier: str) -> None:
        self.call("POST", f"/containers/{identifier}/start")

    def stop(self, identifier: str) -> None:
        self.call("POST", f"/containers/{identifier}/stop?t=0")

    def wait(self, identifier: str) -> int:
        return int(self.call("POST", f"/containers/{identifier}/wait")["StatusCode"])

    def inspect(self, identifier: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/containers/{identifier}/json"))

    def remove(self, identifier: str) -> None:
        self.call("DELETE", f"/containers/{identifier}?force=1")

    def list(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "/containers/json?all=1"))

    def attach(self, identifier: str) -> socket.socket:
        """All streams of a container, framed as the API frames them. Close it."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(_PATIENCE)
            connection.connect(str(self._path))
            path = f"/containers/{identifier}/attach?stream=1&stdin=1&stdout=1&stderr=1"
            upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0"
            connection.sendall(f"POST {path} HTTP/1.1\r\nHost: engine\r\n{upgrade}\r\n\r\n".encode())
            head = b""
            while not head.endswith(b"\r\n\r\n") and (byte := connection.recv(1)):
                head += byte
            if not head.startswith(b"HTTP/1.1 101 "):
                raise EngineError(f"POST {path}: {head.decode(errors='replace')[:300]}")
        except BaseException:
            connection.close()
            raise
        return connection

    def execute(self, identifier: str, *command: str) -> int:
        """Carry out *command* in a running container, read its output to the end: its exit code."""
        wanted = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True}
        made = self.call("POST", f"/containers/{identifier}/exec", wanted)["Id"]
        self.call("POST", f"/exec/{made}/start", {"Detach": False, "Tty": False})
        return int(self.call("GET", f"/exec/{made}/json")["ExitCode"])
