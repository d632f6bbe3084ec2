# SPDX-License-Identifier: Apache-2.0
"""Platforms (`os/arch[/variant]`): their spelling, and which entry of an index serves one.

Names and the choice of variants follow containerd's `platforms` package, whose rules docker's clients know.
"""

from __future__ import annotations

import platform as machine
import re
from collections.abc import Iterable
from dataclasses import dataclass

from hypercell.base.digits import is_digits
from hypercell.base.errors import InvalidArgument

_PART = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,2}")
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_DEFAULT_VARIANTS = {("amd64", "v1"), ("arm64", "v8")}


@dataclass(frozen=True, slots=True)
class Platform:
    """Normalised: `x86_64` is `amd64`, `arm64/v8` is `arm64`, `arm` is `arm/v7`."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def normalise(os: str, architecture: str, variant: str = "") -> Platform:
    os, architecture, variant = os.lower(), architecture.lower(), variant.lower()
    architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
    variant = variant or implied
    if is_digits(variant[:1]):
        variant = "v" + variant
    if (architecture, variant) in _DEFAULT_VARIANTS:
        variant = ""
    if architecture == "arm" and not variant:
        variant = "v7"
    return Platform(os, architecture, variant)


def host() -> Platform:
    """What this machine's guests run: Linux on its own architecture."""
    return normalise("linux", machine.machine())


def parse(text: str) -> Platform:
    """*text* as docker takes it: `linux/arm64`, `linux/arm/v6`, `arm64`, `linux`; empty means `host()`."""
    if not text:
        return host()
    parts = text.split("/")
    if len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
        raise InvalidArgument(f"{text!r} is not a platform", "write os/architecture, such as linux/amd64")
    if len(parts) == 1:
        if parts[0].lower() == "linux":
            return host()
        return normalise("linux", parts[0])
    return normalise(*parts)


def acceptable(wanted: Platform) -> list[Platform]:
    """What runs where *wanted* does, best first: an ARMv7 runs v6 and v5 code, an x86-64-v3 also v2 and v1."""
    digits = wanted.variant.removeprefix("v")
    if wanted.architecture not in ("arm", "amd64") or not _NUMBER.fullmatch(digits):
        return [wanted]
    lowest = 5 if wanted.architecture == "arm" else 1
    older = (f"v{number}" for number in range(int(digits), lowest - 1, -1))
    return [normalise(wanted.os, wanted.architecture, variant) for variant in older] or [wanted]


def choose(wanted: Platform, offered: Iterable[Platform | None]) -> int | None:
    """The position of the best of *offered*, or None. An entry without a platform is taken when nothing else fits."""
    entries = list(offered)
    for candidate in acceptable(wanted):
        for position, entry in enumerate(entries):
            if entry == candidate:
                return position
    return next((position for position, entry in enumerate(entries) if entry is None), None)


def serves(wanted: Platform, has: Platform) -> bool:
    """Whether an image that says it is for *has* counts as one for *wanted*: what runs there does, 32-bit code on a
    64-bit processor of its family too; an image that tells no variant does for any."""
    target = normalise(wanted.os, wanted.architecture, wanted.variant)
    own = normalise(has.os, has.architecture, has.variant)
    if (own.os, own.architecture) == (target.os, target.architecture) and not has.variant:
        return True
    if target.architecture == "amd64" and own == Platform(target.os, "386"):
        return True
    if target == Platform(target.os, "arm64") and own.architecture == "arm":
        return own in acceptable(Platform(target.os, "arm", "v8"))
    return own in acceptable(target)


def mismatch(name: str, has: Platform, wanted: Platform) -> str:
    """dockerd's words for an image that is there for another platform."""
    return (
        f"image with reference {name} was found but its platform ({has}) does not match"
        f" the specified platform ({wanted})"
    )
