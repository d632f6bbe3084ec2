# SPDX-License-Identifier: Apache-2.0
"""Amounts of bytes as people write them."""

from __future__ import annotations

import re

_AMOUNT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([bkmgtp]?)i?b?", re.IGNORECASE | re.ASCII)
_POWERS = {unit: power for power, unit in enumerate("bkmgtp")} | {"": 0}


def bytes_in(text: str) -> int:
    """`512m` and `1.5GiB` in bytes; every unit is a power of 1024, as docker reads them (go-units, RAMInBytes).

    Raises `ValueError`.
    """
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise ValueError(f"invalid size: {text[:50]!r}")
    return int(float(found[1]) * 1024 ** _POWERS[found[2].lower()])
