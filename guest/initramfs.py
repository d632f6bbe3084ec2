#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write an initramfs: `initramfs.py TARGET AGENT [MODULES]`.

It holds the agent as `/init`, empty mount points, `/dev/console`, and, from the directory MODULES, `/modules/*.ko`
with `/modules/order`. The format is newc cpio (Linux, Documentation/driver-api/early-userspace/buffer-format.rst),
not compressed: unpacking costs an emulated guest more than reading. Every byte follows from the input.
"""

from __future__ import annotations

import stat
import sys
from pathlib import Path

DIRECTORIES = ("dev", "proc", "sys", "run", "modules")


class Archive:
    """A cpio archive in memory. Every member belongs to root and is dated 1970."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.members = 0

    def add(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self.members += 1
        links = 2 if stat.S_ISDIR(mode) else 1
        path = name.encode() + b"\0"
        fields = (self.members, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(path), 0)
        self.content += b"070701" + b"".join(b"%08X" % field for field in fields)
        for part in (path, data):
            self.content += part
            self.content += bytes(-len(self.content) % 4)

    def finish(self) -> bytes:
        self.add("TRAILER!!!", 0)
        return bytes(self.content) + bytes(-len(self.content) % 512)


def build(agent: bytes, modules: Path | None) -> bytes:
    """The archive with *agent* and all files of *modules*."""
    archive = Archive()
    for directory in DIRECTORIES:
        archive.add(directory, stat.S_IFDIR | 0o755)
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add("init", stat.S_IFREG | 0o755, agent)
    for file in sorted(modules.iterdir()) if modules else []:
        archive.add(f"modules/{file.name}", stat.S_IFREG | 0o644, file.read_bytes())
    return archive.finish()


def main(target: Path, agent: Path, modules: Path | None) -> None:
    executable = agent.read_bytes()
    if not executable.startswith(b"\x7fELF"):
        sys.exit(f"initramfs: {agent} is not an executable")
    temporary = target.with_name(target.name + ".new")
    temporary.write_bytes(build(executable, modules))
    temporary.chmod(0o644)  # hypervisors read it, each as a user of its own
    temporary.replace(target)  # a VM that is being started sees the old file or the new one


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    except (OSError, IndexError) as error:
        sys.exit(f"initramfs: {error}")
