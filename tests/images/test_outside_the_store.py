# SPDX-License-Identifier: Apache-2.0
"""Whatever an image, an archive or a registry says, the daemon makes, changes and removes nothing outside the store.

Python tells of every call that takes a path before it is made (PEP 578); these tests hear all of them while hostile
images are pulled and loaded. The process that reads layers is another: it can open nothing at all
(tests/images/layers/test_build_root.py).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hypercell.images.registry.source  # noqa: F401 - what is imported for the first time may be compiled then
from hypercell.base.errors import HypercellError
from hypercell.images.store import ImageStore
from tests.images.fake_registry import FakeRegistry
from tests.images.test_archives import HOSTILE, load
from tests.support.images import DOCKER, OCI, Image, compact, descriptor, sha256, tar

PLAIN = Image([tar({"a": b"1"}), tar({"b": b"2"})])
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGES = ("os.", "shutil.")
_HARMLESS = tuple(
    f"os.{name}" for name in ["listdir", "scandir", "walk", "fwalk", "getxattr", "listxattr", "putenv", "unsetenv"]
)
_heard: list[tuple[str, tuple[Any, ...]]] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _heard is not None and (event == "open" or event.startswith((*_CHANGES, "subprocess.", "socket.connect"))):
        _heard.append((event, arguments))


sys.addaudithook(_audit)


def _outside(event: str, arguments: tuple[Any, ...], store: Path) -> bool:
    if event in _HARMLESS or isinstance(arguments[0], int):
        return False
    if event == "open":
        writes = bool(arguments[2] & _WRITING) if isinstance(arguments[2], int) else True
        return writes and not _is_below(arguments[0], store)
    if event.startswith("subprocess."):
        return list(arguments[1])[1:] != ["-I", "-m", "hypercell.images.layers.child"]
    if event == "socket.connect":
        return not (isinstance(arguments[1], tuple) and arguments[1][0] == "127.0.0.1")
    paths = [os.fsdecode(path) for path in arguments if isinstance(path, str | bytes | os.PathLike)]
    in_a_directory = isinstance(arguments[-1], int) and arguments[-1] >= 0
    return not all(_is_below(path, store) or (in_a_directory and _is_plain(path)) for path in paths)


def _is_plain(name: str) -> bool:
    """A name in a directory that is open."""
    return "/" not in name and name not in ("", ".", "..")


def _is_below(path: Any, store: Path) -> bool:
    if isinstance(path, int):
        return True
    text = os.fsdecode(path)
    return text.startswith("/proc/self/fd/") or Path(os.path.normpath(text)).is_relative_to(store)


@contextlib.contextmanager
def nothing_outside(store: Path) -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """Whatever the outcome."""
    global _heard
    heard = _heard = []
    try:
        yield heard
    finally:
        _heard = None
        assert [entry for entry in heard if _outside(*entry, store)] == []


async def test_the_watch_hears_what_a_sound_image_does(store: ImageStore, tmp_path: Path) -> None:
    async with FakeRegistry() as registry:
        with nothing_outside(tmp_path / "images") as heard:
            await store.pull("default", registry.put("app", "1", PLAIN), "", None, lambda _: None)
        assert {"open", "os.rename", "os.link", "subprocess.Popen", "socket.connect"} <= {event for event, _ in heard}
    for event, arguments in (
        ("open", ("/etc/passwd", "w", os.O_WRONLY)),
        ("os.mkdir", ("/var/x", 0o777, -1)),
        ("os.rename", (str(tmp_path / "images/a"), str(tmp_path / "images/../b"), -1, -1)),
        ("os.symlink", ("/etc", "../x", -1)),
    ):
        assert _outside(event, arguments, tmp_path / "images")


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_archive_touches_nothing_outside(store: ImageStore, tmp_path: Path, data: bytes) -> None:
    with nothing_outside(tmp_path / "images"), pytest.raises(HypercellError):
        await load(store, data)


def manifest(**changes: Any) -> bytes:
    blobs = [descriptor(f"{OCI}.layer.v1.tar+gzip", blob) for blob in PLAIN.layer_blobs]
    config = descriptor(f"{OCI}.config.v1+json", PLAIN.config)
    return compact({"schemaVersion": 2, "mediaType": PLAIN.media_type, "config": config, "layers": blobs, **changes})


def layer(**changes: Any) -> dict[str, Any]:
    return {**descriptor(f"{OCI}.layer.v1.tar+gzip", PLAIN.layer_blobs[0]), **changes}


def config(**changes: Any) -> dict[str, Any]:
    return {**descriptor(f"{OCI}.config.v1+json", PLAIN.config), **changes}


DIGESTS = [
    "sha256:../../../../../../../../etc/cron.d/x",
    "sha256:" + "../" * 21 + "x",
    "../sha256:" + "0" * 64,
    "/etc/passwd",
    "sha256:" + "A" * 64,
    "sha256:" + "0" * 63 + "\n",
    "sha256:" + "0" * 64 + "/../../x",
    "sha512:" + "0" * 128,
    "md5:" + "0" * 32,
    "tarsum.v1+sha256:" + "0" * 64,
    "",
    ":",
    5,
    None,
]
"""CVE-2024-3727: a digest that becomes a path before anybody has looked at it."""

MANIFESTS = [
    *(manifest(layers=[layer(digest=digest)]) for digest in DIGESTS),
    *(manifest(config=config(digest=digest)) for digest in DIGESTS),
    manifest(layers=[layer(size=1)]),
    manifest(layers=[layer(size=-1)]),
    manifest(layers=[layer(size=1 << 70)]),
    manifest(layers=[layer(), layer()]),
    manifest(layers=[]),
    manifest(layers=[layer(mediaType="application/octet-stream")]),
    manifest(layers=[layer(mediaType=f"{DOCKER}.plugin.v1+json")]),
    manifest(manifests=[]),
    manifest(schemaVersion=1),
    b"{" * 100_000,
]


async def test_a_hostile_manifest_touches_nothing_outside(store: ImageStore, tmp_path: Path) -> None:
    async with FakeRegistry() as registry:
        registry.put("app", "1", PLAIN)
        for document in MANIFESTS:
            registry.documents["/v2/app/manifests/1"] = document, PLAIN.media_type
            with nothing_outside(tmp_path / "images"), pytest.raises(HypercellError):
                await store.pull("default", f"{registry.host}/app:1", "", None, lambda _: None)
    assert await store.list("default") == []


async def test_content_with_another_digest_touches_nothing_outside(store: ImageStore, tmp_path: Path) -> None:
    async with FakeRegistry() as registry:
        name = registry.put("app", "1", PLAIN)
        evil = tar({f"{'../' * 20}{tmp_path}/pwned": b"x"})
        for digest in PLAIN.blobs:
            registry.documents[f"/v2/app/blobs/{digest}"] = evil, "application/octet-stream"
        with nothing_outside(tmp_path / "images"), pytest.raises(HypercellError):
            await store.pull("default", name, "", None, lambda _: None)
        blobs = {path.name for path in (tmp_path / "images" / "blobs").rglob("*") if path.is_file()}
        assert sha256(evil).removeprefix("sha256:") not in blobs


NAMES = ["../../etc/passwd", "127.0.0.1:1/../x", "/x", "x:../../y", "x@sha256:../../y", "..", "a/../b", "x y", "\x00"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_hostile_name_touches_nothing_outside(store: ImageStore, tmp_path: Path, name: str) -> None:
    with nothing_outside(tmp_path / "images"), pytest.raises(HypercellError):
        await store.pull("default", name, "", None, lambda _: None)
