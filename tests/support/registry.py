# SPDX-License-Identifier: Apache-2.0
"""A real registry on loopback, Debian's docker-registry, and a way to put images into it.

with running_registry(tmp_path) as registry:
    name = registry.push("busybox:latest", busybox())      # "127.0.0.1:PORT/busybox:latest"
"""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.images import Image, Index, sha256


class Registry:
    """One docker-registry process with its storage under *directory*."""

    def __init__(
        self, directory: Path, address: str = "127.0.0.1", certificate: tuple[Path, Path] | None = None, **settings: Any
    ) -> None:
        """*certificate*: (certificate, key) files, to speak TLS. *settings*: further sections of its configuration,
        such as `auth` or `proxy`."""
        self.directory = directory
        self.address = address
        self.certificate = certificate
        self.settings = settings
        self.port = _free_port(address)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"{self.address}:{self.port}"

    def start(self) -> Registry:
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "config.json"  # JSON is YAML
        storage = {"filesystem": {"rootdirectory": str(self.directory / "storage")}, "delete": {"enabled": True}}
        log_settings = {"level": "error", "accesslog": {"disabled": True}}
        http_settings: dict[str, Any] = {"addr": self.host}
        if self.certificate:
            http_settings["tls"] = {"certificate": str(self.certificate[0]), "key": str(self.certificate[1])}
        settings = {"version": 0.1, "log": log_settings, "storage": storage, "http": http_settings}
        config.write_text(json.dumps({**settings, **self.settings}))
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 20
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"docker-registry did not start:\n{(self.directory / 'log').read_text()[-2000:]}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hold(self) -> None:
        """Stand still, connections and all, until `go_on`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/v2/")[0] in (200, 401)
        except OSError:
            return False

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers with lower-case names, body)."""
        with contextlib.closing(self._connection()) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()

    def _connection(self) -> http.client.HTTPConnection:
        if self.certificate is None:
            return http.client.HTTPConnection(self.address, self.port, timeout=20)
        trusting = ssl._create_unverified_context()
        return http.client.HTTPSConnection(self.address, self.port, timeout=20, context=trusting)

    def push(self, name: str, image: Image | Index, token: str = "") -> str:
        """Upload *image* as *name* (`repository:tag`). Returns its full name, for a pull."""
        repository, _, tag = name.partition(":")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if isinstance(image, Index):
            for part in image.images:
                self._push_image(repository, sha256(part.manifest), part, headers)
        else:
            for blob in image.blobs.values():
                self._push_blob(repository, blob, headers)
        self._put_manifest(repository, tag or "latest", image, headers)
        return f"{self.host}/{name}"

    def _push_image(self, repository: str, reference: str, image: Image, headers: dict[str, str]) -> None:
        for blob in image.blobs.values():
            self._push_blob(repository, blob, headers)
        self._put_manifest(repository, reference, image, headers)

    def _push_blob(self, repository: str, blob: bytes, headers: dict[str, str]) -> None:
        status, answer, body = self.request("POST", f"/v2/{repository}/blobs/uploads/", headers=headers)
        assert status == 202, body
        location = answer["location"].removeprefix("https://").removeprefix("http://").removeprefix(self.host)
        join = "&" if "?" in location else "?"
        status, _, body = self.request("PUT", f"{location}{join}digest={sha256(blob)}", blob, headers)
        assert status == 201, body

    def _put_manifest(self, repository: str, reference: str, image: Image | Index, headers: dict[str, str]) -> None:
        path = f"/v2/{repository}/manifests/{reference}"
        status, _, body = self.request("PUT", path, image.manifest, {"Content-Type": image.media_type, **headers})
        assert status == 201, body


@contextlib.contextmanager
def running_registry(directory: Path, **options: Any) -> Iterator[Registry]:
    """Started, and stopped at the end. *options* as for `Registry`."""
    registry = Registry(directory, **options)
    try:
        yield registry.start()
    finally:
        registry.stop()


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
