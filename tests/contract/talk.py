# SPDX-License-Identifier: Apache-2.0
"""A conversation with one engine, kept step by step in the form that is compared."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.contract import read, wire
from tests.contract.normal import Labels, normal
from tests.support.images import Image, busybox, compact, sha256, tar

VERSION = "v1.41"
"""Of the API: the newest that the reference speaks."""
IMAGE = "contract/box:1"
Steps = dict[str, dict[str, Any]]


class Talk:
    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self.labels = Labels()
        self.labels.add_path(socket.parent)
        self.steps: Steps = {}

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        reader: read.Reader = read.plain,
        headers: dict[str, str] | None = None,
        version: str = VERSION,
        title: str = "",
    ) -> Any:
        """Ask, and keep the answer under *title* (else method and path). *body*: JSON, or bytes as they are.
        The decoded answer, as it came."""
        said = {} if body is None else {"Content-Type": "application/json"}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        target = f"/{version}{path}" if version else path
        answer = wire.request(self._socket, method, target, data, {**said, **(headers or {})})
        return self._keep(title or f"{method} {path}", answer, reader)

    def take_over(
        self, path: str, body: Any = None, *, typed: str = "", tty: bool = False, upgrade: bool = True, title: str = ""
    ) -> Any:
        """Hijack, send *typed* and the end of the input, keep what comes back."""
        data = b"" if body is None else json.dumps(body).encode()
        answer = wire.hijack(self._socket, f"/{VERSION}{path}", data, typed.encode(), upgrade)
        return self._keep(title or f"POST {path}", answer, read.raw if tty else read.frames)

    def _keep(self, title: str, answer: wire.Answer, reader: read.Reader) -> Any:
        value = reader(answer)
        step: dict[str, Any] = {"status": answer.status}
        if answer.content or value is not None:
            step |= {"type": answer.headers.get("content-type", ""), "body": normal(value, self.labels)}
        number, key = 1, self.labels.apply(title)
        while (name := f"{key} ({number})" if number > 1 else key) in self.steps:
            number += 1
        self.steps[name] = step
        return value

    def create(self, name: str, *command: str, host: dict[str, Any] | None = None, **config: Any) -> str:
        """A container; its id."""
        body = {"Image": IMAGE, "HostConfig": host or {}, **({"Cmd": list(command)} if command else {}), **config}
        answer = self._quiet("POST", f"/containers/create?name={name}", body)
        assert isinstance(answer, dict), answer
        assert "Id" in answer, (name, answer)
        self.labels.add(answer["Id"], f"id of {name}")
        return str(answer["Id"])

    def run(self, name: str, *command: str, **options: Any) -> str:
        """A container that was started; its id."""
        identifier = self.create(name, *command, **options)
        assert self._quiet("POST", f"/containers/{name}/start") is None
        return identifier

    def ran(self, name: str, *command: str, **options: Any) -> str:
        """A container that has ended; its id."""
        identifier = self.run(name, *command, **options)
        self._quiet("POST", f"/containers/{name}/wait")
        return identifier

    def execution(self, container: str, name: str, *command: str, **options: Any) -> str:
        """An exec that waits to be started; its id, called *name* in what is kept."""
        body = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, **options}
        answer = self.ask("POST", f"/containers/{container}/exec", body, title=f"create exec {name}")
        self.labels.add(answer["Id"], f"exec {name}")
        self.steps[f"create exec {name}"]["body"] = normal(answer, self.labels)
        return str(answer["Id"])

    def _quiet(self, method: str, path: str, body: Any = None, data: bytes | None = None) -> Any:
        """Ask without keeping the answer."""
        content = data if data is not None else None if body is None else json.dumps(body).encode()
        kind = {} if content is None else {"Content-Type": "application/x-tar" if data else "application/json"}
        return read.plain(wire.request(self._socket, method, f"/{VERSION}{path}", content, kind))

    def prepare(self) -> None:
        """The image that all scenarios share, called so whatever is on this machine."""
        answer = self._quiet("GET", f"/images/{IMAGE}/json")
        if "Id" not in answer:
            self._quiet("POST", "/images/load?quiet=1", data=archive(image()))
            answer = self._quiet("GET", f"/images/{IMAGE}/json")
        self.labels.add(answer["Id"], "image")
        for layer in answer["RootFS"]["Layers"]:
            self.labels.add(layer, "layer")

    def tidy(self) -> None:
        """Leave the engine as it was found."""
        for item in _listed(self._quiet("GET", "/containers/json?all=1")):
            self._quiet("DELETE", f"/containers/{item['Id']}?force=1&v=1")
        for item in _listed(self._quiet("GET", "/volumes")["Volumes"]):
            self._quiet("DELETE", f"/volumes/{item['Name']}")
        self._quiet("POST", "/networks/prune")
        for item in _listed(self._quiet("GET", "/images/json")):
            tags = item["RepoTags"] or []
            # By its id goes what has no name, or what is called `<none>:<none>`.
            for reference in [tag for tag in tags if tag != IMAGE] if IMAGE in tags else [item["Id"]]:
                self._quiet("DELETE", f"/images/{quote(reference, safe='')}?force=1")


def _listed(answer: Any) -> list[dict[str, Any]]:
    return [answer] if isinstance(answer, dict) else list(answer or ())


@contextlib.contextmanager
def talking(socket: Path) -> Iterator[Talk]:
    """One scenario's conversation, with the image at hand, and tidied behind."""
    talk = Talk(socket)
    talk.prepare()
    try:
        yield talk
    finally:
        talk.tidy()


def image() -> Image:
    return busybox(run={"Labels": {"made": "by hand"}, "WorkingDir": "/home", "ExposedPorts": {"80/tcp": {}}})


def archive(made: Image, tag: str = IMAGE) -> bytes:
    """As `docker save` writes it."""
    layers = {f"{number}/layer.tar": layer for number, layer in enumerate(made.layers)}
    config = f"{sha256(made.config).removeprefix('sha256:')}.json"
    manifest = [{"Config": config, "RepoTags": [tag], "Layers": list(layers)}]
    return tar({config: made.config, **layers, "manifest.json": compact(manifest)})
