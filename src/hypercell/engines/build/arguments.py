# SPDX-License-Identifier: Apache-2.0
"""ARG: what a stage may see of the build's arguments, and what of it a command gets."""

from __future__ import annotations

from collections.abc import Mapping

from hypercell.images.platforms import Platform

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PREDEFINED = frozenset((*_PROXIES, *map(str.lower, _PROXIES)))
"""Given to every command, and no part of what tells two steps apart, unless they are declared."""


class Arguments:
    def __init__(self, given: Mapping[str, str | None], platform: Platform) -> None:
        self._given = {name: value for name, value in given.items() if value is not None}
        self._platform = platform
        self._globals: dict[str, str] = {}
        self._declared: dict[str, str | None] = {}
        self._seen: set[str] = set()

    def declare_global(self, name: str, default: str | None) -> None:
        self._seen.add(name)
        value = self._given.get(name, default)
        if value is not None:
            self._globals[name] = value

    def for_from(self) -> dict[str, str]:
        """What FROM sees."""
        return {**self._platform_variables(), **self._globals}

    def begin_stage(self, inherited: Mapping[str, str | None] | None = None) -> None:
        """*inherited*: of the stage that it begins from."""
        self._declared = dict(inherited or {})

    def declare(self, name: str, default: str | None) -> None:
        self._seen.add(name)
        known = default if default is not None else self.for_from().get(name)
        self._declared[name] = self._given.get(name, known)

    @property
    def declared(self) -> dict[str, str | None]:
        """To hand on to a stage that begins from this one."""
        return dict(self._declared)

    def visible(self) -> dict[str, str]:
        """For substitutions in the stage."""
        return {name: value for name, value in self._declared.items() if value is not None}

    def for_command(self, env: Mapping[str, str]) -> dict[str, str]:
        """What a command gets besides its image's environment, which goes before it."""
        predefined = {name: value for name, value in self._given.items() if name in PREDEFINED}
        return {name: value for name, value in {**predefined, **self.visible()}.items() if name not in env}

    def told(self, env: Mapping[str, str]) -> list[str]:
        """What of it tells two commands apart."""
        return sorted(f"{name}={value}" for name, value in self.visible().items() if name not in env)

    def unused(self) -> list[str]:
        """Given and declared nowhere."""
        return sorted(name for name in self._given if name not in self._seen and name not in PREDEFINED)

    def _platform_variables(self) -> dict[str, str]:
        platform = self._platform
        found: dict[str, str] = {}
        for prefix in ("TARGET", "BUILD"):
            found |= {
                f"{prefix}PLATFORM": str(platform),
                f"{prefix}OS": platform.os,
                f"{prefix}ARCH": platform.architecture,
                f"{prefix}VARIANT": platform.variant,
            }
        return found
