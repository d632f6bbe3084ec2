#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pick modules of an unpacked kernel package: `modules.py TREE TARGET NAME...`.

TREE is `lib/modules/<release>`. TARGET receives the modules NAME, those they depend on, and a file `order` with one
file name a line, in an order in which they can be loaded. A name that is built into the kernel is left out.
The package has no `modules.dep` (depmod makes it at installation), so the modules' own `.modinfo` is read.
"""

from __future__ import annotations

import lzma
import re
import shutil
import subprocess
import sys
from pathlib import Path

SUFFIXES = (".ko", ".ko.xz", ".ko.zst")
# Debug information and BTF are two thirds of a module; the signature goes with them, and checking it would cost the
# guest time for nothing: whoever could replace a module could replace the kernel that checks it.
STRIP = ("strip", "--strip-debug", "--remove-section=.BTF", "--remove-section=.comment")


def spelled(name: str) -> str:
    """The kernel takes `-` and `_` in module names for the same."""
    return name.replace("-", "_")


def content(module: Path) -> bytes:
    if module.suffix == ".xz":
        return lzma.decompress(module.read_bytes())
    if module.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", str(module)], capture_output=True, check=True).stdout
    return module.read_bytes()


def depends(module: bytes) -> list[str]:
    """Names of the modules without which *module* cannot be loaded."""
    return [spelled(name) for text in re.findall(rb"\0depends=([^\0]+)", module) for name in text.decode().split(",")]


def prefers(module: bytes) -> list[str]:
    """Names, or aliases, of modules that should be loaded before *module* (`softdep=… pre: …`)."""
    texts = [text.decode() for text in re.findall(rb"\0softdep=([^\0]+)", module)]
    return [spelled(name) for text in texts for name in text.partition("pre:")[2].partition("post:")[0].split()]


class Tree:
    def __init__(self, path: Path) -> None:
        self.modules = {
            spelled(file.name.split(".ko")[0]): file for file in path.rglob("*.ko*") if file.name.endswith(SUFFIXES)
        }
        lines = (path / "modules.builtin").read_text().splitlines()
        self.builtin = {spelled(Path(line).stem) for line in lines}

    def order(self, names: list[str]) -> list[str]:
        """*names* and all that they need, each after what it needs. Raises `LookupError` for one that is missing."""
        chosen: list[str] = []

        def add(name: str) -> None:
            if name in chosen or name in self.builtin:
                return
            if name not in self.modules:
                raise LookupError(f"the kernel has no module {name}")
            module = content(self.modules[name])
            for needed in depends(module):
                add(needed)
            for preferred in prefers(module):
                if preferred in self.modules:  # else an alias of something built in, as crc32c
                    add(preferred)
            chosen.append(name)

        for name in names:
            add(spelled(name))
        return chosen


def main(tree: Path, target: Path, names: list[str]) -> None:
    source = Tree(tree)
    order = source.order(names)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in order:
        file = target / f"{name}.ko"
        file.write_bytes(content(source.modules[name]))
        subprocess.run([*STRIP, str(file)], check=True)
    (target / "order").write_text("".join(f"{name}.ko\n" for name in order))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    except (LookupError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"modules: {error}")
