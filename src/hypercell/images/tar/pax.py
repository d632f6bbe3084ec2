# SPDX-License-Identifier: Apache-2.0
"""PAX extended headers (IEEE 1003.1 `pax`, "pax Extended Header"): `length keyword=value newline` records."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from hypercell.images.tar.errors import MalformedArchive

Record = tuple[bytes, bytes]

_CHARSETS = (b"BINARY", b"ISO-IR 10646 2000 UTF-8")
_XATTR = b"SCHILY.xattr."
_LIBARCHIVE_XATTR = b"LIBARCHIVE.xattr."
_SPARSE = b"GNU.sparse."
_REPEATED = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_GLOBAL_ATTRIBUTES = (b"mtime", b"uid", b"gid")
_MEANINGFUL = (b"path", b"linkpath", b"size", b"mtime", b"uid", b"gid", b"hdrcharset")
_DIGITS = b"0123456789"
_MAX_DIGITS = 20


@dataclass(slots=True)
class Overrides:
    """What extended headers say about one member, instead of its header block. None: nothing."""

    path: bytes | None = None
    linkpath: bytes | None = None
    size: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    sparse: list[Record] = field(default_factory=list)
    """`GNU.sparse.` records in their order, without the prefix."""


def decimal(value: bytes, what: str, member: bytes = b"") -> int:
    """A nonnegative decimal number of at most 20 digits, nothing else around it."""
    if not value or len(value) > _MAX_DIGITS or value.strip(_DIGITS):
        raise MalformedArchive(f"{what} is not a decimal number", member)
    return int(value)


def nanoseconds(value: bytes) -> int:
    """`[-]seconds[.fraction]` in nanoseconds, rounded down, as a kernel would keep it."""
    negative = value.startswith(b"-")
    whole, dot, fraction = value[negative:].partition(b".")
    if fraction.strip(_DIGITS) or (dot and not fraction and not whole):
        raise MalformedArchive("a PAX time is not a number")
    total = decimal(whole, "a PAX time") * 10**9 + int(fraction[:9].ljust(9, b"0"))
    if negative:
        return -total - bool(fraction[9:].strip(b"0"))
    return total


def records(data: bytes) -> list[Record]:
    """Split an extended header's data. Errors: `MalformedArchive` on the first byte that does not fit."""
    found: list[Record] = []
    position, end = 0, len(data)
    while position < end:
        space = data.find(b" ", position, position + 12)
        digits = data[position:space] if space > 0 else b""
        if not digits or digits.strip(_DIGITS) or digits.startswith(b"0"):
            raise MalformedArchive("a PAX record has no valid length")
        stop = position + int(digits)
        if stop > end or stop <= space + 1 or data[stop - 1 : stop] != b"\n":
            raise MalformedArchive("a PAX record's length does not lead to the end of a record")
        keyword, equals, value = data[space + 1 : stop - 1].partition(b"=")
        if not equals or not keyword or b"\x00" in keyword or b"\n" in keyword:
            raise MalformedArchive("a PAX record is not keyword=value")
        found.append((keyword, value))
        position = stop
    return found


def _libarchive_xattr(keyword: bytes, value: bytes) -> Record:
    """LIBARCHIVE.xattr: the name percent-encoded, the value base64, often without its padding."""
    name = unquote_to_bytes(keyword[len(_LIBARCHIVE_XATTR) :])
    try:
        return name, base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        raise MalformedArchive("a LIBARCHIVE.xattr value is not base64") from None


def _add_xattr(overrides: Overrides, name: bytes, value: bytes) -> None:
    if not name or b"\x00" in name:
        raise MalformedArchive("an xattr has no name, or a NUL in it")
    # bsdtar writes every xattr twice, once in each spelling.
    if overrides.xattrs.setdefault(name, value) != value:
        raise MalformedArchive("one xattr with two values")


def _apply(overrides: Overrides, keyword: bytes, value: bytes) -> None:
    if keyword.startswith(_XATTR):
        _add_xattr(overrides, keyword[len(_XATTR) :], value)
    elif keyword.startswith(_LIBARCHIVE_XATTR):
        _add_xattr(overrides, *_libarchive_xattr(keyword, value))
    elif keyword.startswith(_SPARSE):
        overrides.sparse.append((keyword[len(_SPARSE) :], value))
    elif keyword in _MEANINGFUL:
        # An empty value deletes the keyword (POSIX), keeps the header's (Go) or empties the field (Python).
        if not value:
            raise MalformedArchive(f"an empty PAX {keyword.decode()}")
        match keyword:
            case b"path" | b"linkpath" if b"\x00" in value:
                raise MalformedArchive(f"a NUL in a PAX {keyword.decode()}")
            case b"path":
                overrides.path = value
            case b"linkpath":
                overrides.linkpath = value
            case b"size":
                overrides.size = decimal(value, "PAX size")
            case b"uid":
                overrides.uid = decimal(value, "PAX uid")
            case b"gid":
                overrides.gid = decimal(value, "PAX gid")
            case b"mtime":
                overrides.mtime_ns = nanoseconds(value)
            case b"hdrcharset" if value not in _CHARSETS:
                raise MalformedArchive("a PAX hdrcharset that is neither BINARY nor UTF-8")


def parse_member(data: bytes) -> Overrides:
    """The overrides of an `x` header. Names stay bytes, so `hdrcharset` only needs to be known."""
    overrides = Overrides()
    seen: set[bytes] = set()
    for keyword, value in records(data):
        if keyword in seen and keyword not in _REPEATED:
            raise MalformedArchive(f"PAX record {keyword[:100]!r} twice in one header")
        seen.add(keyword)
        _apply(overrides, keyword, value)
    return overrides


def parse_global(data: bytes, current: Overrides) -> Overrides:
    """The attributes that a `g` header sets for the members after it, on top of `current`.

    Comments and vendors' own words are passed over. A global path, size, xattr or hole map makes no sense, and
    readers differ on it.
    """
    updated = Overrides(uid=current.uid, gid=current.gid, mtime_ns=current.mtime_ns)
    for keyword, value in records(data):
        if keyword in _GLOBAL_ATTRIBUTES:
            _apply(updated, keyword, value)
        elif keyword in _MEANINGFUL or keyword.startswith((_XATTR, _LIBARCHIVE_XATTR, _SPARSE)):
            raise MalformedArchive(f"a global PAX header sets {keyword[:100].decode('ascii', 'replace')}")
    return updated
