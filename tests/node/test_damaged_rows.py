# SPDX-License-Identifier: Apache-2.0
"""A row that cannot be read takes down no other: its container is dead, keeps its files, and can be removed."""

from __future__ import annotations

import logging
import sqlite3

import pytest

from hypercell.base.errors import Conflict, Unsupported
from hypercell.base.ids import is_id
from hypercell.cloud.contract import ContainerRequest, ExecRequest, RestartPolicy, Status
from tests.support.house import House, T

TORN = [
    "UPDATE containers SET spec = '{' WHERE id = ?",
    "UPDATE containers SET spec = '{}' WHERE id = ?",
    "UPDATE containers SET spec = '[]' WHERE id = ?",
    "UPDATE containers SET spec = '' WHERE id = ?",
    "UPDATE containers SET spec = CAST(x'7bff' AS TEXT) WHERE id = ?",
    "UPDATE containers SET spec = x'00' WHERE id = ?",
    'UPDATE containers SET spec = replace(spec, \'"tty":false\', \'"tty":"no"\') WHERE id = ?',
    'UPDATE containers SET spec = replace(spec, \'"tty":false\', \'"tty":false,"new":1\') WHERE id = ?',
    "UPDATE containers SET spec = replace(spec, '\"args\":', '\"arguments\":') WHERE id = ?",
    f"UPDATE containers SET spec = '{'[' * 100_000}' WHERE id = ?",
    f"UPDATE containers SET spec = '{{\"image_id\":{'9' * 5000}}}' WHERE id = ?",
    "UPDATE containers SET extension = '{' WHERE id = ?",
    "UPDATE containers SET extension = '{}' WHERE id = ?",
    "UPDATE containers SET extension = 'null' WHERE id = ?",
    "UPDATE containers SET extension = replace(extension, '\"vcpus\":1', '\"vcpus\":NaN') WHERE id = ?",
    'UPDATE containers SET extension = replace(extension, \'"user":""\', \'"user":"\\ud800"\') WHERE id = ?',
    'UPDATE containers SET extension = replace(extension, \'"exposed":[]\', \'"exposed":["x"]\') WHERE id = ?',
    "UPDATE containers SET phase = 'flying' WHERE id = ?",
    "UPDATE containers SET run = 'often' WHERE id = ?",
    "UPDATE containers SET created_ns = 'yesterday' WHERE id = ?",
    "UPDATE containers SET exit_code = -1 WHERE id = ?",
    "UPDATE containers SET started_ns = 1.5 WHERE id = ?",
    "UPDATE containers SET oom_killed = 'perhaps' WHERE id = ?",
    "UPDATE containers SET error = x'ff' WHERE id = ?",
    "UPDATE containers SET tenant = x'ff' WHERE id = ?",
    "UPDATE containers SET name = CAST(x'ff' AS TEXT) WHERE id = ?",
    "UPDATE containers SET name = '' WHERE id = ?",
    "UPDATE containers SET pod = 'elsewhere' WHERE id = ?",
    "UPDATE pods SET spec = '{' WHERE id = ?",
    "UPDATE pods SET spec = replace(spec, '\"cpu_quota\":0.0', '\"cpu_quota\":Infinity') WHERE id = ?",
    "UPDATE pods SET tenant = x'00' WHERE id = ?",
    "UPDATE pods SET created_ns = 'long ago' WHERE id = ?",
    "UPDATE pods SET id = 'elsewhere' WHERE id = ?",
    "DELETE FROM pods WHERE id = ?",
]


def tear(home: House, sql: str, ident: str) -> None:
    """What happens to the database while no daemon runs."""
    with sqlite3.connect(home.config.database) as connection:
        assert connection.execute(sql, (ident,)).rowcount == 1
    connection.close()


def row(home: House, ident: str) -> list[object]:
    with sqlite3.connect(home.config.database) as connection:
        connection.text_factory = bytes
        found = connection.execute("SELECT * FROM containers WHERE id = ?", (ident,)).fetchall()
    connection.close()
    return found


@pytest.mark.parametrize("sql", TORN)
async def test_a_row_that_cannot_be_read_leaves_the_others_as_they_were(
    home: House, sql: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = await home.run("sleep", "infinity", name="other")
    ident = await home.run("sleep", "infinity", name="torn", restart=RestartPolicy("always"))
    stopped = await home.create("true", name="stopped")
    await home.close()
    tear(home, sql, ident)
    torn = row(home, ident)
    caplog.clear()
    await home.open()

    assert {view.id for view in await home.containers.list(T, all=True, size=True)} == {other, ident, stopped}
    assert await home.status(other) is Status.RUNNING
    assert await home.status(stopped) is Status.CREATED
    state = (await home.view(ident)).state
    assert state.status is Status.DEAD
    assert "cannot be read" in state.error and "remove it (hypercell rm)" in state.error
    assert list(home.machine.vms) == [other], "the VM of a container that nobody can look after goes on"
    told = [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert len(told) == 1 and ident in told[0].getMessage()
    assert row(home, ident) == torn, "who repairs the row must find it as it was"
    assert home.node.services.storage.writable(ident).exists()

    await home.containers.remove(T, ident)
    await home.settled()
    assert {view.id for view in await home.containers.list(T, all=True)} == {other, stopped}
    assert row(home, ident) == []
    assert {path.name for path in home.config.containers.iterdir()} == {other, stopped} == home.ports()


async def test_a_dead_container_can_only_be_looked_at_and_removed(home: House) -> None:
    ident = await home.run("echo", "kept", name="torn")
    await home.wait(ident)
    await home.settled()
    await home.close()
    tear(home, TORN[0], ident)
    await home.open()
    containers = home.containers
    for attempt in (
        containers.start(T, "torn"),
        containers.stop(T, "torn"),
        containers.restart(T, "torn"),
        containers.kill(T, "torn"),
        containers.rename(T, "torn", "mended"),
        containers.update(T, "torn", memory=2 * 1024**3),
        containers.attach(T, "torn", False, True, True),
        containers.exec_create(T, "torn", ExecRequest(("sh",))),
        containers.archive_stat(T, "torn", "/"),
    ):
        with pytest.raises((Conflict, Unsupported)):
            await attempt
    assert await home.output(ident) == b"kept\n"
    assert await home.wait(ident) == 0
    assert (await containers.prune(T, lambda view: False))[0] == [], "nobody knows what it held"
    assert home.node.services.storage.writable(ident).exists()


async def test_a_row_that_is_repaired_gives_the_container_back(home: House) -> None:
    ident = await home.create("true", name="torn")
    await home.close()
    (whole,) = row(home, ident)
    spec = whole[5]  # type: ignore[index]
    tear(home, TORN[0], ident)
    await home.open()
    assert await home.status(ident) is Status.DEAD
    await home.close()
    with sqlite3.connect(home.config.database) as connection:
        connection.execute("UPDATE containers SET spec = ? WHERE id = ?", (spec.decode(), ident))
    connection.close()
    await home.open()
    await home.containers.start(T, ident)
    assert await home.wait(ident) == 0


async def test_the_image_of_a_dead_container_is_still_in_use(home: House) -> None:
    ident = await home.create("true")
    image = (await home.view(ident)).image_id
    await home.close()
    tear(home, "UPDATE containers SET spec = substr(spec, 1, length(spec) / 2) WHERE id = ?", ident)
    await home.open()
    assert home.images.in_use(image) == [ident]


async def test_a_container_without_an_id_is_left_out_and_no_files_go(
    home: House, caplog: pytest.LogCaptureFixture
) -> None:
    other = await home.run("sleep", "infinity")
    lost = await home.run("sleep", "infinity", name="lost")
    await home.close()
    tear(home, "UPDATE containers SET id = '../..' WHERE id = ?", lost)
    await home.open()
    assert [view.id for view in await home.containers.list(T, all=True)] == [other]
    assert list(home.machine.vms) == [other]
    assert {path.name for path in home.config.containers.iterdir()} == {other, lost}
    assert "'lost' has lost its id" in caplog.text
    assert all(is_id(ident) for ident in home.node.containers)


async def test_a_row_of_an_unreadable_tenant_is_the_operators(home: House) -> None:
    ident, _ = await home.containers.create("somebody", ContainerRequest("busybox"))
    await home.close()
    tear(home, "UPDATE pods SET tenant = x'ff' WHERE id = ?", ident)
    tear(home, "UPDATE containers SET tenant = x'ff' WHERE id = ?", ident)
    await home.open()
    assert await home.containers.list("somebody", all=True) == []
    await home.containers.remove(T, ident)
    await home.settled()
