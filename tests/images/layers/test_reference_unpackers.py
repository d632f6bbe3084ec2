# SPDX-License-Identifier: Apache-2.0
"""File by file, our image is what reference unpackers make of the same layers: umoci, and GNU tar."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.images.layers import describe
from tests.images.layers.conftest import Build, digest
from tests.images.layers.tarballs import archive, extended, file, header, link, pax, record

pytestmark = pytest.mark.root

STAMP = {"mtime": 1_600_000_000}


def oci_layout(path: Path, layers: list[bytes]) -> None:
    """An OCI image layout with one image, tagged `latest`."""
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def store(data: bytes, media_type: str) -> dict[str, Any]:
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"mediaType": media_type, "digest": "sha256:" + name, "size": len(data)}

    prefix = "application/vnd.oci.image"
    rootfs = {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{prefix}.manifest.v1+json",
        "config": store(json.dumps(config).encode(), f"{prefix}.config.v1+json"),
        "layers": [store(gzip.compress(layer), f"{prefix}.layer.v1.tar+gzip") for layer in layers],
    }
    described = store(json.dumps(manifest).encode(), f"{prefix}.manifest.v1+json")
    described["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def by_umoci(layout: Path, bundle: Path) -> describe.Description:
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:latest", bundle], check=True, capture_output=True)
    try:
        return describe.of_directory(bundle / "rootfs")
    finally:
        shutil.rmtree(bundle)


def layers_of(layout: Path) -> list[bytes]:
    """The uncompressed layers of the image in an OCI layout."""

    def blob(descriptor: dict[str, Any]) -> bytes:
        return (layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()

    manifest = json.loads(blob(json.loads((layout / "index.json").read_text())["manifests"][0]))
    return [gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data for data in map(blob, manifest["layers"])]


def test_layers_with_every_kind_of_member_agree_with_umoci(build: Build, tmp_path: Path) -> None:
    root = header(b"./", b"5", mode=0o755, **STAMP)
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    xattrs = record(b"SCHILY.xattr.security.capability", capability) + record(b"SCHILY.xattr.user.k", b"v\x00")
    lower = archive(
        root,
        header(b"d", b"5", mode=0o1777, uid=3, **STAMP),
        file(b"d/a", b"a" * 5000, mode=0o4755, **STAMP),
        file(b"d/b", b"b", uid=70_000, gid=80_000, **STAMP),
        link(b"d/hard", b"d/a"),
        header(b"e", b"5", mode=0o755, **STAMP),
        file(b"e/old", b"x", **STAMP),
        header(b"e/sub", b"5", mode=0o700, **STAMP),
        file(b"e/sub/old", b"x", **STAMP),
        header(b"s", b"2", linkname=b"../../outside", **STAMP),
        header(b"null", b"3", mode=0o666, major=1, minor=3, **STAMP),
        header(b"disk", b"4", mode=0o660, major=8, minor=300, **STAMP),
        header(b"pipe", b"6", **STAMP),
        extended(xattrs + record(b"mtime", b"1600000000.123456789")) + file(b"cap", b"c"),
        header(b"dir-to-file", b"5", **STAMP),
        file(b"dir-to-file/x", **STAMP),
        file(b"file-to-dir", b"f", **STAMP),
        pax(path="d/grün".encode() + b"n" * 120) + file(b"x", b"long", **STAMP),
    )
    middle = archive(
        root,
        file(b"e/new", b"n", **STAMP),
        file(b"e/.wh..wh..opq"),
        header(b"e", b"5", mode=0o711, **STAMP),
        file(b"d/.wh.b"),
        header(b"d", b"5", mode=0o1777, uid=4, **STAMP),
        file(b"dir-to-file", b"now a file", **STAMP),
        header(b"file-to-dir", b"5", mode=0o750, **STAMP),
        file(b"file-to-dir/x", **STAMP),
        link(b"again", b"d/hard"),
        file(b".wh.pipe"),
    )
    upper = archive(root, file(b".wh.s"), file(b"d/a", b"replaced", **STAMP), header(b"d", b"5", mode=0o755, **STAMP))
    layers = [lower, middle, upper]
    oci_layout(tmp_path / "layout", layers)
    assert describe.of_image(build(*layers)) == by_umoci(tmp_path / "layout", tmp_path / "bundle")


@pytest.fixture
def buildah_layout(tmp_path: Path) -> Iterator[Path]:
    """A multi-layer image: files added, replaced, removed and linked, one layer a step."""
    storage = ["--root", tmp_path / "graph", "--runroot", tmp_path / "run", "--storage-driver", "vfs"]
    busybox = Path("/bin/busybox")
    (tmp_path / "busybox").write_bytes(busybox.read_bytes())
    (tmp_path / "busybox").chmod(0o755)
    (tmp_path / "Containerfile").write_text(
        """
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox --install -s /bin; mkdir -p /d/e /opt/x/y; echo 1 >/d/one"]
RUN ln /d/one /d/e/link; echo two >/d/two; chmod 4711 /d/two; chown 1000:2000 /d; dd if=/dev/zero of=/z bs=1k count=64
RUN rm /d/one; ln /d/e/link /d/back; rm -r /opt; mkdir -p /opt/new; echo 3 >/opt/new/f; rm /z; mkfifo /p
RUN rm /d/e/link; mkdir /d/e/link; ln -s /d/two /d/soft
RUN mv /opt /moved; mv /moved /opt; touch -d @1234567890 /d/two
"""
    )
    options = ["--isolation", "chroot", "--layers", "--network", "host", "-t", "test"]
    command = ["buildah", *storage, "build", *options, tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    layout = tmp_path / "layout"
    subprocess.run(["buildah", *storage, "push", "test", f"oci:{layout}:latest"], check=True, capture_output=True)
    yield layout
    subprocess.run(["buildah", *storage, "rmi", "--all", "--force"], check=False, capture_output=True)


def test_an_image_built_by_buildah_agrees_with_umoci(build: Build, buildah_layout: Path, tmp_path: Path) -> None:
    layers = layers_of(buildah_layout)
    assert len(layers) == 6 and any(b".wh." in layer for layer in layers)
    ours = describe.of_image(build(*layers))
    assert ours == by_umoci(buildah_layout, tmp_path / "bundle")
    assert ours[b"d/two"][0] == 0o104711 and b"opt/new/f" in ours and b"opt/x" not in ours


def test_a_distributions_files_agree_with_gnu_tar(build: Build, tmp_path: Path) -> None:
    """This machine's own files, so that nothing is downloaded, packed parents first as distributions do."""
    find = ["find", ".", "-print0"]
    names = subprocess.run(find, cwd="/etc", check=True, capture_output=True).stdout.split(b"\x00")
    listed = b"\x00".join(sorted(filter(None, names), key=lambda name: name.split(b"/")))
    pack = ["tar", "-C", "/etc", "--format=pax", "--xattrs", "--no-recursion", "--null", "-T", "-", "-c"]
    layer = subprocess.run(pack, input=listed, check=True, capture_output=True).stdout
    target = tmp_path / "unpacked"
    target.mkdir()
    unpack = ["tar", "-C", target, "--xattrs", "--xattrs-include=*", "--same-owner", "-px"]
    subprocess.run(unpack, input=layer, check=True)
    ours = describe.of_image(build(layer))
    assert len(ours) > 500 and ours == describe.of_directory(target)
