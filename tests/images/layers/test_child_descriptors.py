# SPDX-License-Identifier: Apache-2.0
"""What the process that reads layers inherits (C2 of docs/security.md)."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from hypercell.base.errors import Internal
from hypercell.images.layers import LayerSource, build_root, process
from tests.images.layers.conftest import digest
from tests.images.layers.tarballs import archive, file

TELL = """
import json, os, sys
job = json.load(sys.stdin)
found = {int(name): os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if int(name) > 2 and
         os.path.exists(f"/proc/self/fd/{name}")}
known = {number for number, _ in job["layers"]} | {job["image"], job["scratch"]}
told = sorted(link for number, link in found.items() if number not in known) + sorted(os.environ)
print(json.dumps({"error": {"kind": "Internal", "message": json.dumps(told)}}))
"""


async def test_the_child_inherits_its_files_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = archive(file(b"a"))
    blob = tmp_path / "blob"
    blob.write_bytes(gzip.compress(layer))
    (tmp_path / "secret").write_text("x")
    strays = [os.open(tmp_path / "secret", os.O_RDONLY), *os.pipe()]
    for stray in strays:
        os.set_inheritable(stray, True)
    monkeypatch.setenv("REGISTRY_PASSWORD", "secret")
    monkeypatch.setattr(process, "CHILD", ("-I", "-c", TELL))
    try:
        with pytest.raises(Internal) as caught:
            await build_root([LayerSource(blob, digest(layer))], tmp_path / "root")
    finally:
        for stray in strays:
            os.close(stray)
    assert caught.value.message.endswith('["LC_ALL", "MALLOC_ARENA_MAX"]')
