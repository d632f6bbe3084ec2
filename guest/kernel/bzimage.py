#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Take the ELF kernel out of a bzImage: `bzimage.py BZIMAGE VMLINUX`.

The ELF has a PVH entry (Linux, Documentation/x86/boot.rst), so the hypervisor starts it directly and the guest does
not spend its first 120 ms under emulation on unpacking itself. Only the standard library is used.
"""

from __future__ import annotations

import gzip
import lzma
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path


def payload(image: bytes) -> bytes:
    """The compressed kernel of *image*, by its setup header (boot protocol 2.08 and later)."""
    if len(image) < 0x264 or image[0x202:0x206] != b"HdrS":
        raise ValueError("not a bzImage")
    (version,) = struct.unpack_from("<H", image, 0x206)
    if version < 0x208:
        raise ValueError(f"boot protocol {version:#x} does not tell where the kernel is")
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    if start + length > len(image):
        raise ValueError("the image is cut short")
    # The last four bytes repeat the unpacked size, which some of the formats do not carry.
    return image[start : start + length]


def unlz4_block(block: memoryview, out: bytearray) -> None:
    """Append what *block* unpacks to (LZ4 block format) to *out*."""
    position, end, floor = 0, len(block), len(out)
    while True:
        token = block[position]
        position += 1
        literals = token >> 4
        if literals == 15:
            more = 255
            while more == 255:
                more = block[position]
                position += 1
                literals += more
        out += block[position : position + literals]
        position += literals
        if position >= end:
            return
        distance = block[position] | block[position + 1] << 8
        position += 2
        length = (token & 15) + 4
        if length == 19:
            more = 255
            while more == 255:
                more = block[position]
                position += 1
                length += more
        start = len(out) - distance
        if distance == 0 or start < floor:
            raise ValueError("a match outside of its block")
        if distance >= length:
            out += out[start : start + length]
        else:
            out += (out[start:] * (length // distance + 1))[:length]


def unlz4(data: bytes) -> bytes:
    """The legacy LZ4 frame that the kernel's build makes: a magic, then blocks with their packed size."""
    view, out, position = memoryview(data), bytearray(), 4
    while position + 4 < len(data):
        (size,) = struct.unpack_from("<I", data, position)
        position += 4
        unlz4_block(view[position : position + size], out)
        position += size
    return bytes(out)


def unzstd(data: bytes) -> bytes:
    # The four bytes of size after the frame are not zstd's: the tool unpacks all and then complains of them.
    return subprocess.run(["zstd", "-dcq"], input=data, capture_output=True, check=False).stdout


def unlzma(data: bytes) -> bytes:
    return lzma.LZMADecompressor().decompress(data)


def gunzip(data: bytes) -> bytes:
    return zlib.decompressobj(31).decompress(data)


FORMATS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x02\x21\x4c\x18": unlz4,
    b"\x28\xb5\x2f\xfd": unzstd,
    b"\xfd7zXZ\x00": unlzma,
    b"\x5d\x00\x00": unlzma,
    b"\x1f\x8b": gunzip,
}


def vmlinux(image: bytes) -> bytes:
    """The ELF kernel inside the bzImage *image*. Raises `ValueError` when there is none."""
    packed = payload(image)
    unpack = next((unpack for magic, unpack in FORMATS.items() if packed.startswith(magic)), None)
    if unpack is None:
        raise ValueError(f"the kernel is packed in an unknown way ({packed[:6].hex()})")
    kernel = unpack(packed)
    (size,) = struct.unpack_from("<I", packed, len(packed) - 4)
    if not kernel.startswith(b"\x7fELF") or (unpack in (unlz4, unzstd) and len(kernel) != size):
        raise ValueError(f"unpacking gave {len(kernel)} bytes that are no ELF kernel of {size} bytes")
    return kernel


if __name__ == "__main__":
    source, target = sys.argv[1:]
    try:
        Path(target).write_bytes(vmlinux(Path(source).read_bytes()))
    except (ValueError, IndexError, OSError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        sys.exit(f"{source}: {error}")
