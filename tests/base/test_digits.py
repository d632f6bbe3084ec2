# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from hypercell.base.digits import is_digits
from tests.support.digits import LOOK_LIKE_NUMBERS


@pytest.mark.parametrize("text", ["0", "7", "0080", "9" * 18])
def test_digits_are_digits(text: str) -> None:
    assert is_digits(text)


@pytest.mark.parametrize("text", ["", "-1", "1.0", "9" * 19, "9" * 5000, *LOOK_LIKE_NUMBERS])
def test_nothing_else_is(text: str) -> None:
    assert not is_digits(text)


def test_a_place_may_want_fewer() -> None:
    assert is_digits("65535", longest=5) and not is_digits("065535", longest=5)
