# SPDX-License-Identifier: Apache-2.0
"""What only looks like a number is none in an image's config, a platform or a registry's header."""

from __future__ import annotations

import pytest

from hypercell.base.errors import InvalidArgument
from hypercell.images import config, platforms
from hypercell.images.platforms import Platform
from hypercell.images.reference import is_domain
from hypercell.images.registry.download import _CONTENT_RANGE
from tests.support.digits import LOOK_LIKE_NUMBERS


@pytest.mark.parametrize("text", LOOK_LIKE_NUMBERS)
def test_it_is_no_port_no_variant_no_time_and_no_place_in_a_blob(text: str) -> None:
    for port in (text, f"{text}/tcp", f"1-{text}"):
        with pytest.raises(InvalidArgument):
            config.port(port)
    assert not is_domain(f"localhost:{text}")
    assert config.created_ns(f"2024-01-0{text}T00:00:00Z") == 0
    assert _CONTENT_RANGE.fullmatch(f"bytes {text}-9/10") is None
    wanted = Platform("linux", "arm", f"v{text}")
    assert platforms.acceptable(wanted) == [wanted]


@pytest.mark.parametrize("text", LOOK_LIKE_NUMBERS[:5])
def test_a_variant_gets_its_letter_for_a_digit_only(text: str) -> None:
    assert platforms.normalise("linux", "arm", text).variant == text.lower()
    assert platforms.normalise("linux", "arm", "6").variant == "v6"
