# SPDX-License-Identifier: Apache-2.0
"""Content digests and chain ids (OCI image-spec `descriptor.md` and `config.md`).

A `Digest` only comes out of `parse` or `of`, so what is typed so has been validated: 64 lower-case hex digits and
nothing that could mean something to a file system (CVE-2024-3727).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import NewType

from hypercell.base.errors import InvalidArgument

Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hex digits."""

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")


def parse(value: object, what: str = "digest") -> Digest:
    """*value* as a digest. Raises `InvalidArgument` for anything but sha256; *what* names it in the message."""
    if isinstance(value, str) and is_digest(value):
        return Digest(value)
    shown = repr(value[:100]) if isinstance(value, str) else f"a {type(value).__name__}"
    raise InvalidArgument(f"invalid {what} {shown}", "digests are sha256: and 64 lower-case hex digits")


def is_digest(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def of(data: bytes) -> Digest:
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def hex_of(digest: Digest) -> str:
    """The hex digits, safe as a file name. Checks again: types do not exist at run time."""
    return parse(digest).removeprefix("sha256:")


def chain_ids(diff_ids: Iterable[Digest]) -> list[Digest]:
    """The chain id of every prefix of the layers, lowest layer first; empty for none."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain
