# SPDX-License-Identifier: Apache-2.0
"""Images made to harm: their roots and configs by hand, into a daemon as an archive."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon
from tests.support.images import APPLETS, BUSYBOX, Image, tar, write_layout

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"


def bare_root(files: dict[str, bytes | str | None]) -> bytes:
    """A layer with busybox under /bin, and of all that a root usually has, only *files* (as for `images.tar`)."""
    programs: dict[str, bytes | str | None] = {f"bin/{applet}": "busybox" for applet in APPLETS.split()}
    return tar({"bin": None, "bin/busybox": BUSYBOX.read_bytes(), **programs, **files})


def with_devices(layer: bytes, **nodes: tuple[bytes, int, int]) -> bytes:
    """*layer* and device nodes that everybody may write: name -> (type, major, minor)."""
    buffer = io.BytesIO(layer)
    with tarfile.open(fileobj=buffer, mode="a", format=tarfile.USTAR_FORMAT) as archive:
        for name, (kind, major, minor) in nodes.items():
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.devmajor, member.devminor = kind, 0o666, major, minor
            archive.addfile(member)
    return buffer.getvalue()


def hostile_image(layer: bytes, **run: Any) -> Image:
    """*run*: members of the config's `config`, in docker's spelling."""
    return Image([layer], {"Env": ["PATH=/bin"], "Cmd": ["sh"], **run})


def load(daemon: Daemon, directory: Path, name: str, image: Image) -> str:
    """*image* into the daemon as *name*, which is returned."""
    layout = write_layout(directory / "layout", {name: image})
    archive = directory / "image.tar"
    subprocess.run(["tar", "-C", str(layout), "-cf", str(archive), "."], check=True)
    daemon.docker("load", "-qi", str(archive))
    return name
