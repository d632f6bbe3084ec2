# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from hypercell.base.quantities import bytes_in


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("32", 32),
        ("32b", 32),
        ("1k", 1024),
        ("1KB", 1024),
        ("1.5 MiB", 3 << 19),
        ("2g", 2 << 30),
        ("1P", 1 << 50),
    ],
)
def test_amounts_are_read_as_docker_reads_them(text: str, size: int) -> None:
    assert bytes_in(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1e3", "1.", ".5", "1 2", "0x10", "١", "1kk", "9" * 40, "1m\n", "inf"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid size"):
        bytes_in(text)
