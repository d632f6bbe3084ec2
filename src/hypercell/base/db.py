# SPDX-License-Identifier: Apache-2.0
"""The database: one file, one connection, short transactions.

Nothing above this module opens a connection. What rooms get is `run`: a function that is given a transaction, in a
thread; `look` and `note` are for what is over before a thread would have begun. The SQL they write keeps to what
PostgreSQL takes too (`INSERT … ON CONFLICT`, `RETURNING`, no SQLite functions), so that another implementation of this
class is all a cluster needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hypercell.base.errors import HypercellError, Internal, NoSpace, Unavailable

T = TypeVar("T")
Transaction = sqlite3.Connection

_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS migrations (room TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (room, number))
"""
_PATIENCE_MS = 5000
"""Milliseconds to wait for another program that holds the database."""
_CHECKPOINT_EVERY = 250
"""Transactions; each adds some pages to the log, which until then is read along with the file."""
_PRIMARY = 0xFF
"""Of an extended result code of SQLite's, what kind it is."""
_MIGRATION = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")


class Database:
    """Open with `Database.open`; close with `close`. Safe to use from many tasks: transactions queue up."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._thread = thread
        self._under_way: set[Future[Any]] = set()
        self._unchecked = 0
        """Transactions since the last checkpoint."""

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open or make the database at *path* (its directory must exist)."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        try:
            connection = await asyncio.get_running_loop().run_in_executor(thread, _connect, path)
        except sqlite3.Error as error:
            thread.shutdown()
            failure = _failure(error)
            failure.message = f"cannot open the database {path}: {failure.message}"
            raise failure from error
        return cls(connection, thread)

    async def run(self, work: Callable[[Transaction], T]) -> T:
        """Call *work* inside one write transaction, in the database's thread. Its exception rolls back and comes out.

        Raises `NoSpace` when the disk is full, `Unavailable` when the file cannot be read or written now, `Internal`
        when it is damaged; `sqlite3.IntegrityError` is for *work*'s owner to explain. A caller that is cancelled
        leaves the transaction to finish.
        """
        submitted = self._submit(self._run, work)
        self._count()
        return await asyncio.wrap_future(submitted)

    def _submit(self, call: Callable[..., T], *arguments: Any) -> Future[T]:
        submitted = self._thread.submit(call, *arguments)
        self._under_way.add(submitted)
        submitted.add_done_callback(self._under_way.discard)
        return submitted

    async def look(self, work: Callable[[Transaction], T]) -> T:
        """As `run`, for reading a few rows by their keys: at once, where nothing is being written. Two changes of
        thread cost ten times what such a query does."""
        if self._under_way:  # it may be what the caller wants to know
            return await self.run(work)
        try:
            return work(self._connection)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & _PRIMARY == sqlite3.SQLITE_BUSY:
                return await self.run(work)
            raise _failure(error) from error

    async def note(self, work: Callable[[Transaction], T]) -> T:
        """As `run`, for writing a few rows by their keys: at once, where nothing is being written. It goes to the
        kernel and waits for no disk (`synchronous`); what does wait for one, `_checkpoint`, is the thread's."""
        if self._under_way or not self._begin_at_once():
            return await self.run(work)
        result = self._finish(work)
        self._count()
        return result

    def _begin_at_once(self) -> bool:
        """Begin a transaction; whether nobody else holds the database."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:  # the thread will try, and wait, and tell
            return False
        return True

    @contextlib.contextmanager
    def _patient(self) -> Iterator[sqlite3.Connection]:
        """Wait for another program meanwhile; else nobody does."""
        self._connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
        try:
            yield self._connection
        finally:
            self._connection.execute("PRAGMA busy_timeout = 0")

    def _count(self) -> None:
        self._unchecked += 1
        if self._unchecked >= _CHECKPOINT_EVERY:
            self._unchecked = 0
            self._submit(self._checkpoint)

    def _run(self, work: Callable[[Transaction], T]) -> T:
        with self._patient() as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.DatabaseError as error:
                raise _failure(error) from error
            return self._finish(work)

    def _checkpoint(self) -> None:
        """Bring what is in the log into the file; and write something, as the first who writes to an empty log waits
        for the disk: whoever comes later need not."""
        connection = self._connection
        with contextlib.suppress(sqlite3.Error):  # the next one makes up for it
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute(f"PRAGMA user_version = {(version + 1) % 1024}")

    def _finish(self, work: Callable[[Transaction], T]) -> T:
        connection = self._connection
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.IntegrityError):
                raise _failure(error) from error
            raise
        return result

    async def migrate(self, room: str, directory: Path) -> None:
        """Apply the numbered `NNNN_name.sql` files of *directory* that *room* has not seen, each in a transaction."""
        scripts = sorted(
            (file for file in directory.iterdir() if _MIGRATION.fullmatch(file.name)), key=lambda f: f.name
        )
        await self.run(lambda tx: tx.execute(_MIGRATIONS))
        rows = await self.run(lambda tx: tx.execute("SELECT number FROM migrations WHERE room = ?", (room,)).fetchall())
        seen = {row[0] for row in rows}
        newest = max((int(script.name[:4]) for script in scripts), default=0)
        if seen and max(seen) > newest:
            raise Internal(
                f"the database was written by a newer hypercell (room {room}, migration {max(seen)})", "upgrade"
            )
        for script in scripts:
            number = int(script.name[:4])
            if number not in seen:
                await self.run(partial(_apply, room=room, number=number, sql=script.read_text()))

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()


def _failure(error: sqlite3.Error) -> HypercellError:
    """What SQLite says in the house's words (sqlite.org/rescode.html)."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the low byte is the kind, the rest its details
        case sqlite3.SQLITE_FULL:
            return NoSpace("the disk of the database is full", "free space there and try again")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Unavailable("another program holds the database", "try again when it is done (a backup? sqlite3?)")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return Unavailable(
                "the database cannot be written to", "its file or file system is read-only: see `mount` and dmesg"
            )
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_IOERR | sqlite3.SQLITE_NOLFS | sqlite3.SQLITE_PROTOCOL:
            words = f"the database cannot be reached ({error})"
            return Unavailable(words, "see whether its disk is there and well (dmesg), then try again")
        case sqlite3.SQLITE_NOMEM:
            return Unavailable("the machine has no memory for the database", "try again when it has")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            words = f"the database is damaged ({error})"
            return Internal(words, "stop the daemon, and restore the file from a backup or with sqlite3's .recover")
        case _:
            return Internal(f"the database failed: {error}", "see the daemon's log")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=_PATIENCE_MS / 1000, check_same_thread=False)
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    path.chmod(0o600)
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    connection.text_factory = _text
    connection.execute("PRAGMA journal_mode = WAL")
    # NORMAL survives a killed daemon; only a power cut may lose the last transactions, and recovery settles those.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `_checkpoint`
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA busy_timeout = 0")  # see `_patient`


def _text(stored: bytes) -> str | bytes:
    """What is no UTF-8 stays bytes: it is for whoever reads that row to refuse, not for all rows to be lost."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored


def _apply(tx: Transaction, room: str, number: int, sql: str) -> None:
    # executescript() would commit the open transaction, so the statements are split here.
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            tx.execute(statement)
            statement = ""
    if statement.strip() and not all(
        line.strip().startswith("--") or not line.strip() for line in statement.splitlines()
    ):
        raise Internal(f"migration {number} of {room} ends in the middle of a statement")
    tx.execute("INSERT INTO migrations (room, number) VALUES (?, ?)", (room, number))
