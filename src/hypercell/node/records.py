# SPDX-License-Identifier: Apache-2.0
"""The node's tables. A row says what is, or what is being done, so that a successor of a killed daemon can go on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from hypercell.base.db import Database, Transaction
from hypercell.base.errors import Conflict, NotFound
from hypercell.node import spec as specs
from hypercell.node.spec import ContainerSpec, PodSpec
from hypercell.node.volumes import Volume
from hypercell.node.volumes import records as volume_records

MIGRATIONS = Path(__file__).parent / "migrations"


class Phase(StrEnum):
    """How far a container is, as written down. What only the guest knows (paused, exited just now) is not."""

    CREATED = "created"
    STARTING = "starting"
    """Written before the VM is launched: there may be one, and the program may run."""
    RUNNING = "running"
    EXITED = "exited"
    """Written before the VM is ended: there may still be one."""
    RESTARTING = "restarting"
    """As EXITED, and it has to be started again."""


@dataclass(frozen=True, slots=True)
class PodRecord:
    id: str
    tenant: str
    created_ns: int
    spec: PodSpec


@dataclass(frozen=True, slots=True)
class Record:
    """One container."""

    id: str
    pod: str
    tenant: str
    name: str
    created_ns: int
    spec: ContainerSpec
    extension: dict[str, Any]
    """JSON of whoever created it; the node does not look inside."""
    phase: Phase = Phase.CREATED
    run: int = 0
    """How often it was started."""
    exit_code: int = 0
    error: str = ""
    reason: str = ""
    """Why it ended, where the exit code does not say it: `guest-panic`, `boot-failed` … (docs/containers.md)."""
    oom_killed: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    restart_count: int = 0
    stopped_by_user: bool = False
    damaged: bool = False
    """Its row cannot be read: `error` says why, some of the rest are stand-ins, and none of it is written down."""

    @property
    def ever_started(self) -> bool:
        return self.started_ns > 0


_STATE = (
    "phase",
    "run",
    "exit_code",
    "error",
    "reason",
    "oom_killed",
    "started_ns",
    "finished_ns",
    "restart_count",
    "stopped_by_user",
)
COUNTERS = ("run", "exit_code", "started_ns", "finished_ns", "restart_count")
_COLUMNS = ("id", "pod", "tenant", "name", "created_ns", "spec", "extension", *_STATE)
_INSERT = f"INSERT INTO containers ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_UPDATE = f"UPDATE containers SET {', '.join(f'{column} = ?' for column in _STATE)} WHERE id = ?"  # noqa: S608


class Records:
    def __init__(self, db: Database) -> None:
        self._db = db

    async def migrate(self) -> None:
        await self._db.migrate("node", MIGRATIONS)

    async def rows(self) -> tuple[list[sqlite3.Row], list[sqlite3.Row]]:
        """Of pods and containers, the oldest first; `rows.read` makes sense of them."""

        def work(tx: Transaction) -> tuple[list[sqlite3.Row], list[sqlite3.Row]]:
            pods = tx.execute("SELECT * FROM pods").fetchall()
            return pods, tx.execute("SELECT * FROM containers ORDER BY created_ns").fetchall()

        return await self._db.run(work)

    async def insert(self, pod: PodRecord | None, record: Record, volumes: Iterable[Volume] = ()) -> None:
        """With *volumes* that come to be with it, and its *pod* unless that is another's. Raises `Conflict` when the
        tenant has another container, or another volume, of such a name, `NotFound` when the other's pod is gone."""

        def work(tx: Transaction) -> None:
            if pod is not None:
                values = (pod.id, pod.tenant, pod.created_ns, specs.dump(pod.spec))
                tx.execute("INSERT INTO pods (id, tenant, created_ns, spec) VALUES (?, ?, ?, ?)", values)
            elif not tx.execute("SELECT 1 FROM containers WHERE id = ?", (record.pod,)).fetchall():
                raise NotFound(f"No such container: {record.pod}", "it was removed meanwhile")
            tx.execute(_INSERT, _row(record))
            volume_records.insert(tx, volumes)

        try:
            await self._db.note(work)
        except sqlite3.IntegrityError as error:
            raise Conflict(f'the container name "{record.name}" is already in use', "choose another name") from error

    async def save(self, record: Record) -> None:
        """Write down where it stands now. Saves take effect in the order in which they were called."""
        values = tuple(getattr(record, column) for column in _STATE)
        await self._db.note(lambda tx: tx.execute(_UPDATE, (*values, record.id)) and None)

    async def rename(self, record: Record, name: str) -> Record:
        """Raises `Conflict`."""
        try:
            await self._db.note(
                lambda tx: tx.execute("UPDATE containers SET name = ? WHERE id = ?", (name, record.id)) and None
            )
        except sqlite3.IntegrityError as error:
            raise Conflict(f'the container name "{name}" is already in use', "choose another name") from error
        return replace(record, name=name)

    async def respecify(self, pod: PodRecord | None, record: Record) -> None:
        """Write down changed specs and extension; no *pod*: that of its pod, which is another's, stays."""
        spec, extension = specs.dump(record.spec), _json(record.extension)

        def work(tx: Transaction) -> None:
            if pod is not None:
                tx.execute("UPDATE pods SET spec = ? WHERE id = ?", (specs.dump(pod.spec), pod.id))
            tx.execute("UPDATE containers SET spec = ?, extension = ? WHERE id = ?", (spec, extension, record.id))

        await self._db.note(work)

    async def delete(self, record: Record, volumes: Iterable[str] = ()) -> None:
        """Forget a container, *volumes* that go with it (their ids) and, with its last one, the pod. What else there is
        of them is then a leftover."""

        def work(tx: Transaction) -> None:
            tx.execute("DELETE FROM containers WHERE id = ?", (record.id,))
            tx.execute(
                "DELETE FROM pods WHERE id = ? AND NOT EXISTS (SELECT 1 FROM containers WHERE pod = ?)",
                (record.pod, record.pod),
            )
            volume_records.delete(tx, volumes)

        await self._db.note(work)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _row(record: Record) -> tuple[object, ...]:
    fixed = (record.id, record.pod, record.tenant, record.name, record.created_ns)
    texts = (specs.dump(record.spec), _json(record.extension))
    return (*fixed, *texts, *(getattr(record, column) for column in _STATE))
