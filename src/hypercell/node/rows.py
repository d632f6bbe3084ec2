# SPDX-License-Identifier: Apache-2.0
"""Rows of the node's tables, read one column at a time.

Whatever a row has become (a bad disk, a hand, a half-written backup), the others must come up. A column that cannot be
read gets a stand-in, and its container is `damaged`: it is shown, and can be removed, but nothing else; its row is
left as it is, for whoever can repair it.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypercell.base.ids import is_id
from hypercell.node import spec as specs
from hypercell.node.records import COUNTERS, Phase, PodRecord, Record
from hypercell.node.spec import ContainerSpec, PodSpec
from hypercell.node.types import OPERATOR_TENANT

T = TypeVar("T")
_IMAGE = re.compile(r'"image_id":"(sha256:[0-9a-f]{64})"')
_LONGEST_FAULT = 200


@dataclass(slots=True)
class Loaded:
    """All that is written down. The pod of every record is among *pods*."""

    pods: dict[str, PodRecord] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    nameless: list[str] = field(default_factory=list)
    """Containers whose id cannot be read, as they may be called: what belongs to them cannot be told."""


class _Row:
    """One row, and what is wrong with it."""

    def __init__(self, table: str, row: sqlite3.Row) -> None:
        self._table, self._row = table, row
        self.faults: list[str] = []

    def take(self, column: str, decode: Callable[[Any], T], stand_in: T) -> T:
        try:
            return decode(self._row[column])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self.faults.append(f"{self._table}.{column}: {error}"[:_LONGEST_FAULT])
            return stand_in


def read(pods: Iterable[sqlite3.Row], containers: Iterable[sqlite3.Row], check: Callable[[Any], object]) -> Loaded:
    """*check* raises `ValueError` for an extension that its owner cannot read."""
    loaded, faults = Loaded(), dict[str, list[str]]()
    for row in pods:
        if is_stored_id(row["id"]):
            loaded.pods[row["id"]], faults[row["id"]] = _pod(row)
    for row in containers:
        if not is_stored_id(row["id"]):
            loaded.nameless.append(repr(row["name"])[:100])
            continue
        ident, pod = row["id"], row["pod"]
        wrong: list[str] = []
        if not is_stored_id(pod) or pod not in loaded.pods:
            wrong.append("containers.pod: there is no such pod")
            pod = ident
            if pod not in loaded.pods:
                loaded.pods[pod], faults[pod] = _pod_stand_in(pod), []
        loaded.records.append(_record(row, loaded.pods[pod], [*wrong, *faults[pod]], check))
    return loaded


def is_stored_id(value: object) -> bool:
    """It names a directory and a VM, so nothing else will do."""
    return isinstance(value, str) and is_id(value)


def _pod(row: sqlite3.Row) -> tuple[PodRecord, list[str]]:
    taken, nothing = _Row("pods", row), _pod_stand_in(row["id"])
    record = PodRecord(
        row["id"],
        taken.take("tenant", _text, OPERATOR_TENANT),
        taken.take("created_ns", _count, 0),
        taken.take("spec", specs.load_pod, nothing.spec),
    )
    return record, taken.faults


def _pod_stand_in(ident: str) -> PodRecord:
    return PodRecord(ident, OPERATOR_TENANT, 0, PodSpec(0, 0, 0.0, "", (), 0))


def _record(row: sqlite3.Row, pod: PodRecord, wrong: list[str], check: Callable[[Any], object]) -> Record:
    taken, ident = _Row("containers", row), row["id"]
    oci = {"process": {"args": [], "env": [], "cwd": "/"}, "linux": {}}
    nothing: dict[str, Any] = {}
    values: dict[str, Any] = {
        "tenant": taken.take("tenant", _text, pod.tenant),
        "name": taken.take("name", _text, f"unreadable_{ident[:12]}"),
        "spec": taken.take("spec", specs.load_container, ContainerSpec(_image_of(row), oci, (), 0, 0)),
        "extension": taken.take("extension", lambda text: _extension(text, check), nothing),
        "phase": taken.take("phase", Phase, Phase.EXITED),
        **{column: taken.take(column, _maybe_empty, "") for column in ("error", "reason")},
        **{column: taken.take(column, _count, 0) for column in ("created_ns", *COUNTERS)},
        **{column: bool(taken.take(column, _count, 0)) for column in ("oom_killed", "stopped_by_user")},
    }
    faults = wrong + taken.faults
    if faults:
        words = f"its record in the database cannot be read ({'; '.join(faults)})"
        values["error"] = f"{words}: remove it (hypercell rm), or repair the record and restart the daemon"
    return Record(ident, pod.id, **values, damaged=bool(faults))


def _extension(text: Any, check: Callable[[Any], object]) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(text)
    check(values)
    return values


def _image_of(row: sqlite3.Row) -> str:
    """The image that a container with a torn record was made of, if that much is legible: it must not be removed."""
    for column in ("spec", "extension"):
        if isinstance(row[column], str) and (found := _IMAGE.search(row[column])):
            return found[1]
    return ""


def _maybe_empty(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is no text")
    return value


def _text(value: object) -> str:
    if not (text := _maybe_empty(value)):
        raise ValueError("is empty")
    return text


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("is no count")
    return value
