# SPDX-License-Identifier: Apache-2.0
"""What an answer's bytes mean, in the one form that is compared and kept."""

from __future__ import annotations

import base64
import io
import json
import struct
import tarfile
from collections.abc import Callable
from typing import Any

from tests.contract.wire import Answer


def plain(answer: Answer) -> Any:
    """JSON, a stream of JSON documents, or text."""
    if not answer.content:
        return None
    if answer.headers.get("content-type", "").startswith("application/json"):
        documents = [json.loads(line) for line in answer.content.splitlines() if line.strip()]
        return documents[0] if len(documents) == 1 else documents
    return answer.content.decode(errors="replace")


def stream(answer: Answer) -> Any:
    """A stream of JSON documents, however many there are."""
    if answer.status >= 400:
        return plain(answer)
    return [json.loads(line) for line in answer.content.splitlines() if line.strip()]


def frames(answer: Answer) -> Any:
    """What came on each stream of a container without a terminal: how it was cut is chance."""
    if answer.status >= 400:
        return plain(answer)
    found = {0: "", 1: "", 2: ""}
    data = answer.content
    while data:
        kind, size = struct.unpack(">BxxxI", data[:8])
        found[kind] += data[8 : 8 + size].decode(errors="replace")
        data = data[8 + size :]
    return {"stdout": found[1], "stderr": found[2]}


def changes(answer: Answer) -> Any:
    """What was changed in a container, by path: dockerd's order is chance."""
    found = plain(answer)
    return sorted(found, key=lambda change: str(change["Path"])) if isinstance(found, list) else found


def raw(answer: Answer) -> Any:
    """Bytes of a terminal."""
    return plain(answer) if answer.status >= 400 else answer.content.decode(errors="replace")


def members(answer: Answer) -> Any:
    """The members of a tar."""
    if answer.status >= 400:
        return plain(answer)
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        return {member.name: _member(archive, member) for member in archive}


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    kind = {tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link", tarfile.REGTYPE: "file"}[member.type]
    shown = {"type": kind, "mode": oct(member.mode & 0o7777), "owner": f"{member.uid}:{member.gid}"}
    if member.issym():
        return {**shown, "target": member.linkname}
    content = archive.extractfile(member)
    return {**shown, "content": content.read().decode()} if content else shown


def names(answer: Answer) -> Any:
    """How the archive of an image is laid out: the documents that say so, decoded."""
    if answer.status >= 400:
        return plain(answer)
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        (manifest,) = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
        present = set(archive.getnames())
    files = [manifest["Config"], *manifest["Layers"]]
    return {"RepoTags": manifest["RepoTags"], "Layers": len(manifest["Layers"]), "whole": present.issuperset(files)}


def types(answer: Answer) -> Any:
    """The shape alone, where a machine's figures are all the values."""
    return _type(plain(answer))


def _type(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _type(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_type(value[0])] if value else []
    return "null" if value is None else {int: "number", float: "number", str: "text", bool: "truth"}[type(value)]


def path_stat(answer: Answer) -> Any:
    """The header that tells what is at a path."""
    text = answer.headers.get("x-docker-container-path-stat")
    return json.loads(base64.b64decode(text)) if text else None


Reader = Callable[[Answer], Any]
