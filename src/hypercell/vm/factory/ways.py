# SPDX-License-Identifier: Apache-2.0
"""The three ways to a VM, and what whoever wants one brings along (docs/adr/0010-templates-and-pool.md)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from hypercell.agent.contract import Agent
from hypercell.vm.driver import Vm

Json = dict[str, Any]


class Way(StrEnum):
    COLD = "cold"
    """A boot of its own."""
    TEMPLATE = "template"
    """A clone made now."""
    POOL = "pool"
    """A clone that waited."""


QUICKEST_FIRST = (Way.POOL, Way.TEMPLATE, Way.COLD)


def slower(way: Way) -> Way | None:
    """The next slower way; None behind the cold boot."""
    return next(iter(QUICKEST_FIRST[QUICKEST_FIRST.index(way) + 1 :]), None)


class Isolation(StrEnum):
    SHARED = "shared"
    """Clones share the pages that they do not change."""
    COLD = "cold"
    """Every VM boots by itself, and shares no page but those of the hypervisor's program."""


@dataclass(frozen=True, slots=True)
class Launched:
    """A VM, and how it came about."""

    vm: Vm
    way: Way
    note: str
    """Why not a quicker way, for a person; empty after the quickest."""
    agent: Agent | None
    """Of what was forked of another, which is not handed out before it has greeted; None after another boot."""
    key: str = ""
    """Of the template, or zygote, of which it was made."""


class SpareTap(Protocol):
    """A tap that joins nothing yet. Whoever gets one owns the descriptor."""

    @property
    def name(self) -> str: ...
    @property
    def descriptor(self) -> int: ...


class Client(Protocol):
    """Who wants a VM, and the port that its card is to be connected to."""

    async def open(self) -> int:
        """A new tap of the port; its descriptor (cold boot, template)."""

    async def give(self, spare: str) -> None:
        """The pooled VM's tap becomes the port's."""

    def booting(self) -> AbstractContextManager[None]:
        """Around the boot of a VM whose agent is handed out."""

    def found(self, vm: Vm) -> None:
        """The VM exists from now on, and may be killed while it is still being prepared. Raises `VmFailed` when nobody
        wants it any more."""

    @property
    def wanted(self) -> bool:
        """False: do not try another way."""

    def on_event(self, event: Json) -> None:
        """What the agent of a clone tells."""


class NotThisWay(Exception):
    """The way is not open; the text says why, for a person."""
