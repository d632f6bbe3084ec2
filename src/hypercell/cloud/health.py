# SPDX-License-Identifier: Apache-2.0
"""docker's `Healthcheck`: what a request may say, what its image adds, and what of it the node carries out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from hypercell.base.durations import SECOND, show_duration
from hypercell.base.errors import InvalidArgument
from hypercell.cloud.contract import HealthRequest
from hypercell.node.health import HealthCheck

NONE, EXECUTED, OF_SHELL = "NONE", "CMD", "CMD-SHELL"
MINIMUM = SECOND // 1000
SHELL = ("/bin/sh", "-c")
_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start_period": "StartPeriod",
    "start_interval": "StartInterval",
}
MEMBERS = {"test": "Test", **_TIMES, "retries": "Retries"}
"""docker's names, by ours."""


def check(health: HealthRequest) -> None:
    """Raises `InvalidArgument`."""
    for name, docker in _TIMES.items():
        if (value := getattr(health, name)) and value < MINIMUM:
            raise InvalidArgument(f"{docker} in Healthcheck cannot be less than {show_duration(MINIMUM)}")
    if health.retries < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")
    if not health.test or health.test[0] == NONE:
        return
    kind, *words = health.test
    if kind not in (EXECUTED, OF_SHELL):
        known = f"{EXECUTED}, {OF_SHELL} or {NONE}"
        shown = "".join(char if char.isprintable() else "?" for char in kind[:100])
        raise InvalidArgument(f"Unknown healthcheck type '{shown}' (expected '{EXECUTED}')", known)
    if not words or not words[0]:
        raise InvalidArgument(f"Test in Healthcheck names no command after '{kind}'", "name one, or say NONE")
    if any("\0" in word for word in words):
        raise InvalidArgument("Test in Healthcheck contains a NUL byte")


def of_image(declared: Mapping[str, Any] | None, warnings: list[str]) -> HealthRequest | None:
    """What an image declares. One that makes no sense is not run, and that is told."""
    if not declared:
        return None
    try:
        health = HealthRequest(
            test=_words(declared.get("Test")),
            **{name: _number(declared, docker) for name, docker in MEMBERS.items() if name != "test"},
        )
        check(health)
    except InvalidArgument as error:
        warnings.append(f"The image's health check is not run: {error}")
        return None
    return health


def merged(own: HealthRequest | None, image: HealthRequest | None) -> HealthRequest | None:
    """Field by field, the request's first."""
    if own is None or image is None:
        return own or image
    open_ = {entry.name: getattr(image, entry.name) for entry in fields(own) if not getattr(own, entry.name)}
    return replace(own, **open_)


def carried_out(health: HealthRequest | None, shell: tuple[str, ...]) -> HealthCheck | None:
    """None: nothing is."""
    if health is None or not health.test or health.test[0] == NONE:
        return None
    kind, *words = health.test
    return HealthCheck(
        args=(*((shell or SHELL) if kind == OF_SHELL else ()), *words),
        interval=health.interval or 30 * SECOND,
        timeout=health.timeout or 30 * SECOND,
        start_period=health.start_period,
        start_interval=health.start_interval or 5 * SECOND,
        retries=health.retries or 3,
    )


def _words(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise InvalidArgument("Test in Healthcheck must be a list of strings")
    return tuple(value)


def _number(declared: Mapping[str, Any], name: str) -> int:
    value = declared.get(name)
    if value is None:
        return 0
    if type(value) is not int or abs(value) >= 1 << 63:
        raise InvalidArgument(f"{name} in Healthcheck must be an integer")
    return value
