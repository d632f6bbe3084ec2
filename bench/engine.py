# SPDX-License-Identifier: Apache-2.0
"""One client for every engine: the Engine API over a kept connection, as small as a client can be."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from pathlib import Path
from typing import Any


class Engine:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: http.client.HTTPConnection | None = None

    def call(self, method: str, path: str, body: Any = None, raw: bytes | None = None) -> Any:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("engine", timeout=120)
            self._connection.sock = socket.socket(socket.AF_UNIX)
            self._connection.sock.settimeout(120)
            self._connection.sock.connect(str(self._path))
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        kind = "application/x-tar" if raw is not None else "application/json"
        self._connection.request(method, path, data, {"Content-Type": kind} if data is not None else {})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {content.decode(errors='replace')[:300]}")
        with contextlib.suppress(ValueError):
            return json.loads(content)
        return content

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def create(self, image: str, *command: str) -> str:
        return str(self.call("POST", "/containers/create", {"Image": image, "Cmd": list(command)})["Id"])

    def start(self, identifier: str) -> None:
        self.call("POST", f"/containers/{identifier}/start")

    def wait(self, identifier: str) -> int:
        return int(self.call("POST", f"/containers/{identifier}/wait")["StatusCode"])

    def remove(self, identifier: str) -> None:
        self.call("DELETE", f"/containers/{identifier}?force=1")
