# SPDX-License-Identifier: Apache-2.0
"""What `logs --details` tells of a container: the labels and variables that its log options name, and its tag."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote_plus

from hypercell.api.docker.patterns import Pattern
from hypercell.base.ids import short
from hypercell.cloud.contract import ContainerView

_TAG_FIELDS: dict[str, Callable[[ContainerView], str]] = {
    "ID": lambda view: short(view.id),
    "FullID": lambda view: view.id,
    "ContainerID": lambda view: view.id,
    "Name": lambda view: view.name,
    "ContainerName": lambda view: f"/{view.name}",
    "ImageID": lambda view: view.image_id[:12],  # its algorithm included, as docker has it
    "ImageFullID": lambda view: view.image_id,
    "ContainerImageID": lambda view: view.image_id,
    "ImageName": lambda view: view.request.image,
    "ContainerImageName": lambda view: view.request.image,
    "Command": lambda view: " ".join(view.args),
    "DaemonName": lambda view: "docker",
}
MOST_MATCHED = 8192
"""Characters of names that are held against a pattern for one answer: the daemon does nothing else meanwhile."""
_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_FIELD = re.compile(r"-?\s*\.([A-Za-z]+)\s*-?")


def check_attributes(options: Mapping[str, str]) -> None:
    """Raises `ValueError` for a tag or a pattern that could not be filled in or matched."""
    for name in ("labels-regex", "env-regex"):
        try:
            Pattern(options.get(name, ""))
        except ValueError as error:
            raise ValueError(f"{name}: error parsing regexp: {error}") from None
    _check_tag(options.get("tag", ""))


def _check_tag(template: str) -> None:
    for action in _ACTION.findall(template):
        field = _FIELD.fullmatch(action)
        if field is None or field[1] not in _TAG_FIELDS:
            known = ", ".join(f"{{{{.{name}}}}}" for name in _TAG_FIELDS)
            raise ValueError(f"template: log-tag: cannot evaluate {{{{{action[:100]}}}}}: known are {known}")
    if "{{" in _ACTION.sub("", template):
        raise ValueError("template: log-tag: unclosed action")


def attributes(view: ContainerView, options: Mapping[str, str]) -> dict[str, str]:
    """By name; *options* were checked when the container was made."""
    variables = {name: value for name, equals, value in (entry.partition("=") for entry in view.env) if equals}
    found = _chosen(view.request.labels, options.get("labels", ""), options.get("labels-regex", ""))
    found |= _chosen(variables, options.get("env", ""), options.get("env-regex", ""))
    if tag := options.get("tag", ""):
        found["tag"] = _ACTION.sub(lambda action: _filled(action[1], view), tag)
    return found


def _chosen(values: Mapping[str, str], names: str, pattern: str) -> dict[str, str]:
    chosen = {name: values[name] for name in names.split(",") if name in values}
    if pattern:
        machine = Pattern(pattern)
        room = MOST_MATCHED
        for name, value in values.items():
            room -= len(name)
            if room >= 0 and machine.search(name):
                chosen[name] = value
    return chosen


def _filled(action: str, view: ContainerView) -> str:
    field = _FIELD.fullmatch(action)
    return _TAG_FIELDS[field[1]](view) if field is not None and field[1] in _TAG_FIELDS else ""


def encoded(found: Mapping[str, str]) -> bytes:
    """As they stand before a line: `a=b,c=d`, sorted, each escaped as in a URL's query."""
    return ",".join(f"{quote_plus(name)}={quote_plus(found[name])}" for name in sorted(found)).encode()
