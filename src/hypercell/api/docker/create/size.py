# SPDX-License-Identifier: Apache-2.0
"""The size class of a container, which docker has no field for.

Our CLI says it with an annotation, `io.hypercell.size`; the container cloud's contract (2.1) with a label.
"""

from __future__ import annotations

from collections.abc import Mapping

from hypercell.base.errors import InvalidArgument
from hypercell.base.sizes import size_named

ANNOTATION = "io.hypercell.size"
LABEL = "sh_hyper_instancetype"


def parse_size(annotations: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """The size's name, or an empty string. Raises `InvalidArgument`."""
    names = {size_named(given).name for given in (annotations.get(ANNOTATION), labels.get(LABEL)) if given}
    if len(names) > 1:
        raise InvalidArgument(f"annotation {ANNOTATION} and label {LABEL} name different sizes", "give one of them")
    return next(iter(names), "")
