# SPDX-License-Identifier: Apache-2.0
"""The tools that build what boots: kernels out of bzImages, modules in order, the initramfs."""

from __future__ import annotations

import gzip
import lzma
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.vm.guest_tools import GUEST, members, tool

bzimage = tool("kernel/bzimage.py")
initramfs = tool("initramfs.py")
modules = tool("kernel/modules.py")

KERNEL = b"\x7fELF" + bytes(range(256)) * 300 + b"abab" * 5000


def wrapped(payload: bytes) -> bytes:
    """A bzImage around *payload*, with the unpacked size behind it as the build does."""
    payload += struct.pack("<I", len(KERNEL))
    header = bytearray(1024)
    header[0x1F1] = 1
    header[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", header, 0x206, 0x20F)
    struct.pack_into("<II", header, 0x248, 16, len(payload))
    return bytes(header) + bytes(16) + payload


def lz4(data: bytes) -> bytes:
    return subprocess.run(["lz4", "-lc", "-9"], input=data, capture_output=True, check=True).stdout


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstd, lz4], ids=["gzip", "xz", "zstd", "lz4"])
def test_the_kernel_comes_out_as_it_went_in(pack: object) -> None:
    assert callable(pack)
    assert bzimage.vmlinux(wrapped(pack(KERNEL))) == KERNEL


def test_lz4_is_unpacked_byte_by_byte() -> None:
    # Two literals, a match that overlaps itself, long lengths, and the closing literals (LZ4 block format).
    block = b"\x2fab\x02\x00\x05" + b"\xf0\x03" + b"c" * 18
    out = bytearray()
    bzimage.unlz4_block(memoryview(block), out)
    assert out == b"ab" + b"ab" * 12 + b"c" * 18


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"MZ" * 1000,
        wrapped(b"nothing known" * 10),
        wrapped(gzip.compress(b"no ELF")),
        wrapped(gzip.compress(KERNEL))[:-100],
        wrapped(b"\x02\x21\x4c\x18" + struct.pack("<I", 8) + b"\x10a\xff\xff\x00\x00\x00\x00"),
    ],
)
def test_what_is_no_kernel_is_refused(image: bytes) -> None:
    with pytest.raises(ValueError):
        bzimage.vmlinux(image)


def test_the_initramfs_holds_the_agent_and_the_modules(tmp_path: Path) -> None:
    (tmp_path / "order").write_text("b.ko\na.ko\n")
    (tmp_path / "a.ko").write_bytes(b"A" * 3)
    (tmp_path / "b.ko").write_bytes(b"B" * 5)
    archive = initramfs.build(b"\x7fELF agent", tmp_path)
    found = members(archive)
    assert found["init"] == (0o100755, b"\x7fELF agent")
    assert found["modules/order"][1] == b"b.ko\na.ko\n"
    assert found["modules/a.ko"] == (0o100644, b"AAA")
    assert found["dev/console"][0] == 0o020600
    assert {"dev", "proc", "sys", "modules"} <= set(found)
    assert archive == initramfs.build(b"\x7fELF agent", tmp_path)
    assert len(archive) % 512 == 0


def test_without_an_agent_there_is_no_initramfs(tmp_path: Path) -> None:
    for agent in (tmp_path / "missing", tmp_path / "script"):
        (tmp_path / "script").write_text("#!/bin/sh\n")
        done = subprocess.run(
            [sys.executable, str(GUEST / "initramfs.py"), str(tmp_path / "out"), str(agent)],
            capture_output=True,
            check=False,
        )
        assert done.returncode != 0
        assert done.stderr.startswith(b"initramfs:")
        assert not (tmp_path / "out").exists()


def test_modules_come_after_what_they_need(tmp_path: Path) -> None:
    def module(name: str, info: bytes) -> None:
        (tmp_path / name).write_bytes(b"\0" + info + b"\0")

    module("virtio-blk.ko", b"depends=virtio,virtio_ring")
    module("virtio.ko", b"depends=virtio_ring")
    module("virtio_ring.ko", b"depends=")
    module("erofs.ko", b"depends=libcrc32c\0softdep=pre: crc32c-arch crc32c")
    module("libcrc32c.ko", b"depends=builtin_one")
    module("crc32c-arch.ko", b"depends=")
    module("lost.ko", b"depends=gone")
    (tmp_path / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\nkernel/lib/builtin-one.ko\n")
    tree = modules.Tree(tmp_path)
    assert tree.order(["virtio_blk", "ext4"]) == ["virtio_ring", "virtio", "virtio_blk"]
    assert tree.order(["erofs"]) == ["libcrc32c", "crc32c_arch", "erofs"]
    for missing in ("nothing", "lost"):
        with pytest.raises(LookupError):
            tree.order([missing])


def test_an_option_that_did_not_take_effect_stops_the_build(tmp_path: Path) -> None:
    wanted, more, got = (tmp_path / name for name in ("fragment", "fragment.up", "config"))
    check = [sys.executable, str(GUEST / "kernel/check-fragment"), str(got), str(wanted), str(more)]
    wanted.write_text("CONFIG_A=n\nCONFIG_B=n\n# CONFIG_C is not set\n")
    more.write_text("CONFIG_A=y\n")
    got.write_text("CONFIG_A=y\n# CONFIG_B is not set\n")
    assert subprocess.run(check, check=False).returncode == 0
    got.write_text("CONFIG_C=y\n")
    done = subprocess.run(check, check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert "CONFIG_A" in done.stderr
    assert "CONFIG_C" in done.stderr
