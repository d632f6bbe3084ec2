#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Push a busybox image, made of Debian's busybox-static, to a registry.

    demo_image.py http://127.0.0.1:5000 busybox:latest

Plain OCI distribution calls with the standard library, so that the demo needs no image tool.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import urllib.parse
import urllib.request
from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def layer() -> bytes:
    """A root tar: busybox under /bin with a link for each of its commands, and the folders that a system expects."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, mode in (
            ("bin", 0o755),
            ("etc", 0o755),
            ("home", 0o755),
            ("root", 0o700),
            ("tmp", 0o1777),
            ("var", 0o755),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, mode
            tar.addfile(member)
        data = Path("/bin/busybox").read_bytes()
        member = tarfile.TarInfo("bin/busybox")
        member.size, member.mode = len(data), 0o755
        tar.addfile(member, io.BytesIO(data))
        commands = subprocess.run(["/bin/busybox", "--list"], check=True, capture_output=True, text=True).stdout.split()
        for command in commands:
            if command != "busybox":
                member = tarfile.TarInfo(f"bin/{command}")
                member.type, member.linkname, member.mode = tarfile.LNKTYPE, "bin/busybox", 0o755
                tar.addfile(member)
        for path, text in (
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"),
            ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
        ):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(text), 0o644
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def call(method: str, url: str, body: bytes | None = None, kind: str = "application/octet-stream") -> str:
    request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": kind})
    with urllib.request.urlopen(request) as answer:
        return urllib.parse.urljoin(url, answer.headers.get("Location", ""))


def push_blob(base: str, data: bytes) -> str:
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    location = call("POST", f"{base}/blobs/uploads/", b"")
    call("PUT", location + ("&" if "?" in location else "?") + "digest=" + digest, data)
    return digest


def main() -> None:
    registry, reference = sys.argv[1].rstrip("/"), sys.argv[2]
    name, _, tag = reference.partition(":")
    base = f"{registry}/v2/{name}"
    tar = layer()
    packed = gzip.compress(tar, 6, mtime=0)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest()]},
            "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "busybox-static"}],
        }
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": push_blob(base, config),
            "size": len(config),
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": push_blob(base, packed),
                "size": len(packed),
            }
        ],
    }
    call("PUT", f"{base}/manifests/{tag or 'latest'}", json.dumps(manifest).encode(), MANIFEST)


if __name__ == "__main__":
    main()
