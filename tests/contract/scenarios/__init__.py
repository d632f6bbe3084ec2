# SPDX-License-Identifier: Apache-2.0
"""What is asked. Every public function of these modules that takes a talk is a scenario, called by its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from tests.contract.scenarios import (
    builds,
    containers,
    contents,
    errors,
    execs,
    files,
    images,
    lists,
    members,
    networks,
    refusals,
    states,
    streams,
    system,
    volumes,
)
from tests.contract.talk import Talk

Scenario = Callable[[Talk], None]
_MODULES = (
    builds,
    containers,
    contents,
    errors,
    execs,
    files,
    images,
    lists,
    members,
    networks,
    refusals,
    states,
    streams,
    system,
    volumes,
)

SCENARIOS: dict[str, Scenario] = {
    f"{module.__name__.rpartition('.')[2]}.{name}": function
    for module in _MODULES
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_")
}
