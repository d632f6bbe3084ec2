# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypercell.base import db as room
from hypercell.base.db import Database, Transaction
from hypercell.base.errors import HypercellError, Internal, NoSpace, Unavailable


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "db")
    await database.run(lambda tx: tx.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, s TEXT)"))
    yield database
    await database.close()


def count(tx: Transaction) -> int:
    return int(tx.execute("SELECT count(*) FROM t").fetchone()[0])


async def test_an_exception_undoes_the_whole_transaction_and_comes_out(db: Database) -> None:
    def work(tx: Transaction) -> None:
        tx.execute("INSERT INTO t VALUES (1, 'a')")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await db.run(work)
    assert await db.run(count) == 0


async def test_transactions_of_many_tasks_do_not_mix(db: Database) -> None:
    def work(tx: Transaction) -> None:
        tx.execute("INSERT INTO t (s) SELECT count(*) FROM t")

    await asyncio.gather(*(db.run(work) for _ in range(200)))
    rows = await db.run(lambda tx: tx.execute("SELECT s FROM t ORDER BY n").fetchall())
    assert [row["s"] for row in rows] == [str(number) for number in range(200)]


async def test_a_full_disk_is_no_space_and_the_database_goes_on(db: Database) -> None:
    await db.run(lambda tx: tx.execute("PRAGMA max_page_count = 20"))
    with pytest.raises(NoSpace):
        await db.run(lambda tx: tx.execute("INSERT INTO t (s) VALUES (?)", ("x" * 1_000_000,)))
    await db.run(lambda tx: tx.execute("INSERT INTO t (s) VALUES ('small')"))
    assert await db.run(count) == 1


async def test_migrations_run_once_in_order_and_half_a_one_leaves_nothing(db: Database, tmp_path: Path) -> None:
    scripts = tmp_path / "migrations"
    scripts.mkdir()
    (scripts / "0001_first.sql").write_text("CREATE TABLE a (n INTEGER);\nINSERT INTO a VALUES (1);\n-- end\n")
    (scripts / "notes.txt").write_text("not SQL")
    await db.migrate("room", scripts)
    await db.migrate("room", scripts)
    (scripts / "0002_second.sql").write_text("INSERT INTO a VALUES (2);\nINSERT INTO missing VALUES (1);\n")
    with pytest.raises(Internal):
        await db.migrate("room", scripts)
    (scripts / "0002_second.sql").write_text("INSERT INTO a\n VALUES (';');\n")
    await db.migrate("room", scripts)
    rows = await db.run(lambda tx: tx.execute("SELECT n FROM a").fetchall())
    assert [row["n"] for row in rows] == [1, ";"]


async def test_a_database_of_a_newer_hypercell_is_refused(db: Database, tmp_path: Path) -> None:
    scripts = tmp_path / "migrations"
    scripts.mkdir()
    (scripts / "0001_first.sql").write_text("CREATE TABLE a (n INTEGER);")
    (scripts / "0002_second.sql").write_text("CREATE TABLE b (n INTEGER);")
    await db.migrate("room", scripts)
    (scripts / "0002_second.sql").unlink()
    with pytest.raises(Internal, match="newer"):
        await db.migrate("room", scripts)


async def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"not a database at all, but long enough to look" * 100)
    with pytest.raises(Internal, match="cannot open the database"):
        await Database.open(tmp_path / "db")


async def test_what_was_committed_survives_kill_9(tmp_path: Path) -> None:
    script = (
        "import asyncio, os, pathlib, sys\n"
        "from hypercell.base.db import Database\n"
        "async def main():\n"
        "    db = await Database.open(pathlib.Path(sys.argv[1]))\n"
        "    await db.run(lambda tx: tx.execute('CREATE TABLE t (n INTEGER)'))\n"
        "    for number in range(50):\n"
        "        await (db.note if number % 2 else db.run)(\n"
        "            lambda tx: tx.execute('INSERT INTO t VALUES (?)', (number,)))\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script, str(tmp_path / "db")], check=False)
    database = await Database.open(tmp_path / "db")
    assert await database.run(count) == 50
    await database.close()


async def test_a_database_that_another_program_holds_says_so_and_goes_on_later(db: Database, tmp_path: Path) -> None:
    await db.run(lambda tx: tx.execute("PRAGMA busy_timeout = 0") and None)
    other = sqlite3.connect(tmp_path / "db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="another program holds the database: try again"):
        await db.run(count)
    other.execute("ROLLBACK")
    other.close()
    assert await db.run(count) == 0


async def test_a_database_that_cannot_be_written_says_so(db: Database) -> None:
    await db.run(lambda tx: tx.execute("PRAGMA query_only = 1") and None)
    with pytest.raises(Unavailable, match="read-only"):
        await db.run(lambda tx: tx.execute("INSERT INTO t VALUES (1, 'a')") and None)


async def test_a_file_that_is_no_database_is_not_opened_and_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "db"
    file.write_bytes(b"not a database" * 1000)
    with pytest.raises(Internal, match=r"cannot open the database .*damaged .*restore the file from a backup"):
        await Database.open(file)
    assert file.read_bytes() == b"not a database" * 1000


async def test_a_database_with_torn_pages_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "db"
    database = await Database.open(file)
    await database.run(lambda tx: tx.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, s TEXT)") and None)
    await database.run(lambda tx: tx.execute("INSERT INTO t (s) VALUES (?)", ("x" * 100_000,)) and None)
    await database.close()
    with file.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xff" * 8192)
    database = await Database.open(file)
    with pytest.raises(Internal, match="the database is damaged"):
        await database.run(lambda tx: tx.execute("SELECT sum(length(s)) FROM t").fetchall())
    await database.close()


async def test_a_row_that_breaks_a_rule_is_its_owners_to_explain(db: Database) -> None:
    await db.run(lambda tx: tx.execute("INSERT INTO t VALUES (1, 'a')") and None)
    with pytest.raises(sqlite3.IntegrityError):
        await db.run(lambda tx: tx.execute("INSERT INTO t VALUES (1, 'b')") and None)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, NoSpace),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Unavailable),
        (sqlite3.SQLITE_LOCKED_SHAREDCACHE, Unavailable),
        (sqlite3.SQLITE_READONLY_DBMOVED, Unavailable),
        (sqlite3.SQLITE_CANTOPEN, Unavailable),
        (sqlite3.SQLITE_IOERR_FSYNC, Unavailable),
        (sqlite3.SQLITE_CORRUPT_INDEX, Internal),
        (sqlite3.SQLITE_ERROR, Internal),
        (None, Internal),
    ],
)
async def test_no_error_of_the_file_comes_out_as_sqlites_own(
    db: Database, code: int | None, kind: type[HypercellError]
) -> None:
    def fail(tx: Transaction) -> None:
        error = sqlite3.OperationalError("details")
        if code is not None:
            error.sqlite_errorcode = code
        raise error

    with pytest.raises(kind) as caught:
        await db.run(fail)
    assert caught.value.hint


async def test_a_look_sees_what_was_to_be_written_when_it_was_asked_for(db: Database) -> None:
    for number in range(20):
        writing = asyncio.ensure_future(db.run(lambda tx: tx.execute("INSERT INTO t (s) VALUES ('x')") and None))
        await asyncio.sleep(0)  # submitted, and perhaps not yet carried out
        assert await db.look(count) == number + 1
        await writing
    assert await db.look(count) == 20


def put(tx: Transaction) -> None:
    tx.execute("INSERT INTO t (s) VALUES ('x')")


async def test_a_note_is_written_when_it_returns_and_needs_no_turn_of_the_loop(db: Database, tmp_path: Path) -> None:
    noting = db.note(put)
    with pytest.raises(StopIteration):
        noting.send(None)  # over at its first step
    other = sqlite3.connect(tmp_path / "db")
    assert other.execute("SELECT count(*) FROM t").fetchone() == (1,)
    other.close()


async def test_notes_and_transactions_take_effect_in_the_order_in_which_they_were_asked_for(db: Database) -> None:
    def work(tx: Transaction) -> None:
        tx.execute("INSERT INTO t (s) SELECT count(*) FROM t")

    await asyncio.gather(*((db.run if number % 3 else db.note)(work) for number in range(60)))
    rows = await db.run(lambda tx: tx.execute("SELECT s FROM t ORDER BY n").fetchall())
    assert [row["s"] for row in rows] == [str(number) for number in range(60)]


async def test_a_note_that_fails_leaves_nothing(db: Database) -> None:
    def work(tx: Transaction) -> None:
        put(tx)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await db.note(work)
    assert await db.look(count) == 0
    await db.note(put)
    assert await db.look(count) == 1


async def test_a_note_waits_for_another_program_without_holding_up_the_loop(db: Database, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    noting = asyncio.ensure_future(db.note(put))
    for _ in range(100):  # were the loop held up, nobody would let go of the database
        await asyncio.sleep(0)
    assert not noting.done()
    other.execute("ROLLBACK")
    other.close()
    await noting
    assert await db.look(count) == 1


async def test_the_log_does_not_grow_with_every_note(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_CHECKPOINT_EVERY", 10)
    for _ in range(500):
        await db.note(put)
    await db.run(count)  # behind the last checkpoint
    assert (tmp_path / "db-wal").stat().st_size < 200_000
    assert await db.look(count) == 500


async def test_a_look_at_a_broken_query_is_told_in_the_houses_words(db: Database) -> None:
    with pytest.raises(HypercellError):
        await db.look(lambda tx: tx.execute("SELECT * FROM nonesuch"))
