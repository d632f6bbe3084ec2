# SPDX-License-Identifier: Apache-2.0
"""EROFS on disk: the structures and constants (Linux `fs/erofs/erofs_fs.h`), all little-endian.

Block 0 holds the superblock at byte 1024. An inode is addressed by its nid, the number of its 32-byte slot counted
from `meta_blkaddr`. Everything here is readable by Linux 5.15 and later: uncompressed, one device.
"""

from __future__ import annotations

import struct

BLOCK_BITS = 12
BLOCK = 1 << BLOCK_BITS
MAX_BLOCKS = (1 << 32) - 2  # all ones is the null address

SLOT = 32
SUPER_OFFSET = 1024
SUPER_MAGIC = 0xE0F5E1E2

COMPAT_SB_CHKSUM = 0x1
COMPAT_MTIME = 0x2
INCOMPAT_CHUNKED_FILE = 0x4

# i_format: bit 0 tells an extended inode, the bits above it how the data is laid out
COMPACT, EXTENDED = 0, 1
FLAT_PLAIN, FLAT_INLINE, CHUNK_BASED = 0 << 1, 2 << 1, 4 << 1

COMPACT_SIZE = 32
EXTENDED_SIZE = 64

NULL_BLOCK = 0xFFFFFFFF
"""A chunk that is a hole."""
MAX_CHUNK_BITS = BLOCK_BITS + 31

SUPERBLOCK = struct.Struct("<IIIBBHQQIIII16s16sIHHH38x")
COMPACT_INODE = struct.Struct("<HHHHIIIIHHI")
EXTENDED_INODE = struct.Struct("<HHHHQIIIIqII16x")
DIRENT = struct.Struct("<QHBx")
XATTR_HEADER = struct.Struct("<IB7x")
XATTR_ENTRY = struct.Struct("<BBH")

XATTR_PREFIXES: tuple[tuple[bytes, int], ...] = (
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
)
"""Name spaces that have a number on disk; a name outside them cannot be stored."""

# d_type of a directory entry (Linux include/linux/fs_types.h)
FT_REG, FT_DIR, FT_CHR, FT_BLK, FT_FIFO, FT_SOCK, FT_SYMLINK = 1, 2, 3, 4, 5, 6, 7


def _crc32c_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


def crc32c(data: bytes) -> int:
    """CRC-32C without the final inversion, as the superblock has it."""
    table = _crc32c_table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


def device_number(major: int, minor: int) -> int:
    """The kernel's 32-bit encoding: 12 bits of major, 20 of minor. Errors: ValueError."""
    if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
        raise ValueError(f"device number {major}:{minor} does not fit")
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


def superblock_block(
    *,
    root_nid: int,
    inodes: int,
    build_time_ns: int,
    blocks: int,
    meta_block: int,
    xattr_block: int,
    uuid: bytes,
    chunked: bool,
) -> bytes:
    """Block 0: 1024 zero bytes, the superblock with its checksum, zeros."""

    def packed(checksum: int) -> bytes:
        seconds, nanoseconds = divmod(build_time_ns, 10**9)
        return SUPERBLOCK.pack(
            SUPER_MAGIC,
            checksum,
            COMPAT_SB_CHKSUM | COMPAT_MTIME,
            BLOCK_BITS,
            0,
            root_nid,
            inodes,
            seconds,
            nanoseconds,
            blocks,
            meta_block,
            xattr_block,
            uuid,
            b"",
            INCOMPAT_CHUNKED_FILE if chunked else 0,
            0,
            0,
            0,
        )

    rest = BLOCK - SUPER_OFFSET
    checksum = crc32c(packed(0).ljust(rest, b"\x00"))
    return bytes(SUPER_OFFSET) + packed(checksum).ljust(rest, b"\x00")
