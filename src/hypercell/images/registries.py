# SPDX-License-Identifier: Apache-2.0
"""What registries are asked besides images: who somebody is, what a name stands for, what there is by some word."""

from __future__ import annotations

import builtins

from hypercell.base.config import Config
from hypercell.images.contract import Credentials, Distribution, SearchResult
from hypercell.images.registry.patience import Limits


class RegistryClient:
    """Implements `contract.Registries`, where the methods are described."""

    def __init__(self, config: Config, limits: Limits | None = None) -> None:
        self._config = config
        self._limits = limits or Limits()

    # The modules are imported when they are needed, as for a pull: the HTTP client takes 20 MB.

    async def login(self, credentials: Credentials) -> str:
        from hypercell.images.registry.login import login

        return await login(self._config, self._limits, credentials)

    async def inspect(self, reference: str, credentials: Credentials | None) -> Distribution:
        from hypercell.images.registry.inspection import inspect

        return await inspect(self._config, self._limits, reference, credentials)

    async def search(self, term: str, limit: int, credentials: Credentials | None) -> builtins.list[SearchResult]:
        from hypercell.images.registry.search import search

        return await search(self._config, self._limits, term, limit, credentials)
