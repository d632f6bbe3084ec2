# SPDX-License-Identifier: Apache-2.0
"""Answers to what containers ask of each other's names (RFC 1035 section 4.1): addresses, and the names of addresses.

None is kept by whoever asked (their TTL is 0): a container that was renamed, or has ended, is so for all at once.
"""

from __future__ import annotations

import ipaddress
import struct

from hypercell.backends.network.dns import failure
from hypercell.backends.network.names import Entry, Names

_HEADER = struct.Struct("!HHHHHH")
_A, _PTR, _IN = 1, 12, 1
_QUESTION_NAME = b"\xc0\x0c"
"""A pointer to the question's name."""
_REVERSE = ".in-addr.arpa"


def answer(names: Names, asker: str, query: bytes) -> bytes | None:
    """The answer to *query* (well-formed, one question) of who has the address *asker*; None when it is about nothing
    that their networks know, and somebody else has to be asked."""
    places = names.places(asker)
    if not places:
        return None
    known = _known(names, places, query)
    if known is None and all(place.internal for place in places):
        return failure(query)  # who cannot reach the world can ask it nothing either
    return known


def _known(names: Names, places: tuple[Entry, ...], query: bytes) -> bytes | None:
    if query[2] & 0x78:  # an opcode other than QUERY
        return None
    name, end = _name(query)
    kind, family = struct.unpack_from("!HH", query, end)
    if family != _IN:
        return None
    if kind == _PTR:
        found = names.name(places, _address(name))
        return _reply(query, end + 4, [(_PTR, _labels(found))]) if found else None
    if not names.known(places, name):
        return None
    # A name that is known has no records of any other kind: no IPv6 address for one, which is said at once.
    addresses = names.addresses(places, name) if kind == _A else []
    records = [(_A, ipaddress.IPv4Address(address).packed) for address in addresses]
    return _reply(query, end + 4, records)


def _name(query: bytes) -> tuple[str, int]:
    """The question's name without its last dot, and where it ends."""
    labels, at = [], _HEADER.size
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("latin-1"))
        at += 1 + query[at]
    return ".".join(labels).lower(), at + 1


def _address(name: str) -> str:
    """The address whose name is asked for; empty for no IPv4 address."""
    parts = name.removesuffix(_REVERSE).split(".")
    return ".".join(reversed(parts)) if name.endswith(_REVERSE) and len(parts) == 4 else ""


def _labels(name: str) -> bytes:
    parts = [part.encode("latin-1", "replace")[:63] for part in name.split(".") if part]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def _reply(query: bytes, question_end: int, records: list[tuple[int, bytes]]) -> bytes:
    identifier, flags, *_ = _HEADER.unpack_from(query)
    head = _HEADER.pack(identifier, 0x8480 | (flags & 0x0100), 1, len(records), 0, 0)
    body = b"".join(_QUESTION_NAME + struct.pack("!HHIH", kind, _IN, 0, len(data)) + data for kind, data in records)
    return head + query[_HEADER.size : question_end] + body
