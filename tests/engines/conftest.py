# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from tests.images.conftest import database, store

__all__ = ["database", "store"]
