# SPDX-License-Identifier: Apache-2.0
"""What a container's log options change: for who reads it, for who is attached, and for its program."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

import hypercell.node.logs.log as log_module
from hypercell.base.errors import InvalidArgument, Unsupported
from hypercell.cloud.contract import LogQuery, LogSpec
from tests.support.house import House, T, eventually, house, read

NONE = LogSpec(kept=False)
WORDS = "configured logging driver does not support reading"


async def test_a_log_that_is_not_kept_cannot_be_read_and_attach_works(home: House) -> None:
    ident = await home.create("sh", "-c", "echo out; echo err >&2", log=NONE)
    attached = await home.containers.attach(T, ident, False, True, True)
    await home.containers.start(T, ident)
    assert sorted((await read(attached.output())).split()) == [b"err", b"out"]
    with pytest.raises(Unsupported, match=WORDS):
        home.containers.logs(T, ident, LogQuery())
    with pytest.raises(Unsupported, match=WORDS):
        await home.containers.attach(T, ident, False, True, True, logs=True)
    stored = b"".join(file.read_bytes() for file in (home.config.containers / ident / "log").iterdir())
    assert b"out" not in stored and b"err" not in stored


async def test_a_client_that_does_not_read_misses_nothing_of_what_is_not_kept(home: House) -> None:
    ident = await home.create("cat", open_stdin=True, stdin_once=True, log=NONE)
    slow = await home.containers.attach(T, ident, False, True, True)
    quick = await home.containers.attach(T, ident, True, True, True)
    reading = asyncio.ensure_future(read(quick.output()))
    await home.containers.start(T, ident)
    block = b"".join(b"%07d\n" % number for number in range(8192))
    for _ in range(50):
        await quick.write(block)
    await quick.close_stdin()
    assert await asyncio.wait_for(reading, 20) == block * 50
    assert await asyncio.wait_for(read(slow.output()), 20) == block * 50
    stored = sum(file.stat().st_size for file in (home.config.containers / ident / "log").iterdir())
    assert stored < len(block)


async def test_the_options_are_those_of_the_container_after_the_daemons_return(home: House) -> None:
    few = await home.run("sh", "-c", "; ".join(f"echo {number}; sleep 0.01" for number in range(9)), log=NONE)
    await home.wait(few)
    await home.reopen()
    with pytest.raises(Unsupported, match=WORDS):
        home.containers.logs(T, few, LogQuery())


async def test_logs_go_on_over_starts_and_rotations(home: House) -> None:
    script = "; ".join(f"echo {number}; sleep 0.01" for number in range(6))
    ident = await home.create("sh", "-c", script, log=LogSpec(files=4, file_size=70))
    for _ in range(3):
        await home.containers.start(T, ident)
        await home.wait(ident)
        await home.settled()
    kept = (await home.output(ident)).split()
    assert len(kept) >= 4 and kept == ([b"0", b"1", b"2", b"3", b"4", b"5"] * 3)[-len(kept) :]
    assert (await home.output(ident, tail=2)).split() == [b"4", b"5"]


async def test_who_never_wants_to_wait_goes_on_while_the_disk_is_full(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, full = log_module.os.pwrite, True

    def pwrite(file: int, data: bytes, offset: int) -> int:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(file, data, offset)

    ident = await home.create("cat", open_stdin=True, log=LogSpec(buffer=100_000))
    client = await home.containers.attach(T, ident, True, True, True)
    monkeypatch.setattr(log_module.os, "pwrite", pwrite)
    await home.containers.start(T, ident)
    lines = [b"%07d\n" % number for number in range(200_000)]

    async def write() -> None:
        for begin in range(0, len(lines), 1000):
            await client.write(b"".join(lines[begin : begin + 1000]))

    got, writing = b"", asyncio.ensure_future(write())
    async with asyncio.timeout(30):
        async for _, data in client.output():
            got += data
            if got.endswith(lines[-1]):
                break
    await writing
    assert got == b"".join(lines)  # 1.6 MB: more than the guest, and the daemon, would hold
    full = False
    await client.write(b"last\n")

    async def complete() -> bool:
        return (await home.output(ident)).endswith(b"last\n")

    await eventually(complete)
    kept = await home.output(ident)
    assert 50_000 < len(kept) <= 100_000 + 5 and kept == (got + b"last\n")[-len(kept) :]


async def test_a_log_longer_than_the_operator_allows_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path, log_most=1000) as strict:
        with pytest.raises(InvalidArgument, match="log_most"):
            await strict.create("true", log=LogSpec(files=2, file_size=501))
        await strict.create("true", log=LogSpec(files=2, file_size=500))
        with pytest.raises(InvalidArgument, match="1000 files"):
            await strict.create("true", log=LogSpec(files=1001))
