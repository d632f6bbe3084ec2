# SPDX-License-Identifier: Apache-2.0
"""Rotation: bounded whatever is written, and at no step a line lost, doubled or torn, killed daemons included."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypercell.node.logs import Log, Rotation, packed, read, rotation
from hypercell.node.logs.record import MAX_DATA, MAX_RECORD, OVERHEAD
from hypercell.node.output import MAX_BEHIND, RunOutput
from hypercell.node.types import LogQuery, LogRecord, LogSpec, Output
from tests.support.log_writer import KINDS, LINE, open_log, stream, write

REPOSITORY = Path(__file__).resolve().parents[2]
MB = 10**6
LIMIT = 50 * MB


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        (LogSpec(), Rotation(5, 10 * MB)),
        (LogSpec(files=2), Rotation(2, 25 * MB)),
        (LogSpec(files=1), Rotation(2, 25 * MB)),
        (LogSpec(files=1, file_size=MB), Rotation(2, MB // 2)),
        (LogSpec(files=3, file_size=20 * MB, compress=True), Rotation(3, 20 * MB, True)),
        (LogSpec(files=1, file_size=1), Rotation(2, 1)),
    ],
)
def test_what_is_left_open_is_the_operators_and_one_file_is_kept_in_halves(spec: LogSpec, meant: Rotation) -> None:
    assert rotation(spec, LIMIT) == meant


def on_disk(directory: Path) -> int:
    found = 0
    for file in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was being compressed
            found += file.stat().st_size
    return found


async def content(log: Log, **query: object) -> bytes:
    records = read(log, LogQuery(**query), lambda: False)  # type: ignore[arg-type]
    return b"".join([record.data async for record in records])


# Killed at every step

STEPS = [
    *(
        (kind, point, count)
        for kind in ("plain", "halves")
        for point in ("log-rotate", "log-write")
        for count in (2, 15)
    ),
    *((kind, "log-rotated-away", count) for kind in ("plain", "halves", "packed") for count in (1, 5)),
    *(("packed", point, count) for point in ("log-rotate", "log-packed", "log-pack-named") for count in (1, 4)),
    *(("none", point, 1) for point in ("log-write", "log-forget", "log-forgotten")),
]


@pytest.mark.parametrize(("kind", "point", "count"), STEPS)
async def test_killed_at_any_step_of_a_rotation_no_line_is_lost_or_doubled(
    tmp_path: Path, kind: str, point: str, count: int
) -> None:
    directory = tmp_path / "log"
    if kind == "none":  # it begins anew after 64 KiB of positions, or when somebody has read what was kept for him
        log = open_log(directory, kind)
        log.hold()
        await write(log, 100 * LINE)
        log.close()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.log_writer", str(directory), point, str(count), kind),
        cwd=REPOSITORY,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == -signal.SIGKILL, f"it never came to {point}: {said.decode()}"

    successor = open_log(directory, kind)
    position = successor.positions(1)[0]
    kept = await content(successor)
    if kind == "none":
        assert position >= 100 * LINE
    else:
        assert kept and stream()[:position].endswith(kept) and kept.count(b"\n") * LINE == len(kept)
    await write(successor, settle=True)
    kept = await content(successor)
    assert successor.positions(1)[0] == len(stream())
    assert kept == (b"" if kind == "none" else stream()[-len(kept) :])
    assert on_disk(directory) <= KINDS[kind].files * KINDS[kind].size
    assert not list(directory.glob("*.new"))
    await successor.settle()


# Whatever is written, whoever reads

WRITES = st.tuples(st.just("write"), st.integers(0, 3000))
READS = st.tuples(st.sampled_from(["open", "step", "tail", "reopen"]), st.integers(0, 40))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rotated=st.builds(Rotation, st.integers(2, 4), st.integers(1, 6000), st.booleans()),
    steps=st.lists(st.one_of(WRITES, WRITES, READS), max_size=40),
)
def test_the_log_is_the_end_of_what_was_written_to_every_reader_at_any_time(
    tmp_path_factory: pytest.TempPathFactory, rotated: Rotation, steps: list[tuple[str, int]]
) -> None:
    asyncio.run(Model(tmp_path_factory.mktemp("model") / "log", rotated).play(steps))


class Model:
    """A program that writes numbered lines, daemons that follow each other, and clients that read as they please."""

    def __init__(self, directory: Path, rotated: Rotation) -> None:
        self.directory, self.rotated = directory, rotated
        self.said: list[bytes] = []
        self.readers: list[tuple[AsyncIterator[LogRecord], list[int]]] = []
        self.open()

    def open(self) -> None:
        self.log = Log(self.directory, self.rotated)
        self.output = RunOutput(self.log)
        self.output.begin(1)

    async def play(self, steps: list[tuple[str, int]]) -> None:
        followed: list[int] = []
        for verb, number in steps:
            await getattr(self, f"do_{verb}")(number)
            assert self.log.positions(1)[0] == len(b"".join(self.said))
        following = asyncio.ensure_future(self.follow(self.log, followed))
        for length in (1, 2000, 5, 17, 40):
            await self.do_write(length)
            await asyncio.sleep(0)
        self.output.finish()
        await asyncio.wait_for(following, 20)
        assert followed[-1] == len(self.said) - 1 and sorted(set(followed)) == followed
        await self.do_tail(3)
        for reader, seen in self.readers:
            await self.step(reader, seen, 1 << 20)
        await self.close()
        assert on_disk(self.directory) <= self.rotated.files * max(self.rotated.size, MAX_RECORD)

    async def close(self) -> None:
        self.log.close()
        await self.log.settle()

    async def do_write(self, length: int) -> None:
        offset = len(b"".join(self.said))
        line = b"%d%s\n" % (len(self.said), b"." * length)
        self.said.append(line)
        self.output.receive(Output.STDOUT, offset, line)
        self.output.store(Output.STDOUT)

    async def do_reopen(self, _: int) -> None:
        await self.close()
        self.readers.clear()  # they were the old daemon's
        self.open()

    async def do_open(self, _: int) -> None:
        self.readers.append((read(self.log, LogQuery(), lambda: False), []))

    async def do_step(self, number: int) -> None:
        if self.readers:
            await self.step(*self.readers[number % len(self.readers)], number)

    async def step(self, reader: AsyncIterator[LogRecord], seen: list[int], count: int) -> None:
        for _ in range(count):
            try:
                record = await anext(reader)
            except StopAsyncIteration:
                break
            seen.append(self.number(record.data))
        assert sorted(set(seen)) == seen

    async def do_tail(self, number: int) -> None:
        kept = (await content(self.log)).splitlines(keepends=True)
        assert kept == self.said[len(self.said) - len(kept) :]
        least = min(len(b"".join(self.said)), self.rotated.size // 2 - OVERHEAD - 3010)
        assert len(b"".join(kept)) >= least or any(len(line) > self.rotated.size // 4 for line in self.said)
        assert (await content(self.log, tail=number)).splitlines(keepends=True) == kept[
            len(kept) - min(number, len(kept)) :
        ]

    async def follow(self, log: Log, seen: list[int]) -> None:
        records = read(log, LogQuery(follow=True), lambda: not self.output.finished)
        seen.extend([self.number(record.data) async for record in records])

    def number(self, line: bytes) -> int:
        number = int(line.split(b".")[0])
        assert line == self.said[number]
        return number


@pytest.mark.parametrize("compress", [False, True])
async def test_one_endless_line_takes_no_more_of_the_disk_than_many_short_ones(tmp_path: Path, compress: bool) -> None:
    limits = Rotation(3, 100_000, compress)
    log = Log(tmp_path / "log", limits)
    output = RunOutput(log)
    output.begin(1)
    for offset in range(0, 3 * MB, 60_000):
        output.receive(Output.STDERR, offset, b"x" * 60_000)
        assert output.store(Output.STDERR) > offset + 60_000 - MAX_DATA
        assert on_disk(tmp_path / "log") <= limits.files * limits.size * (1 + compress)
    assert set(await content(log)) == {ord("x")}
    log.close()
    await log.settle()
    assert on_disk(tmp_path / "log") <= limits.files * limits.size


async def test_tail_of_a_record_that_is_rotated_away_meanwhile_cuts_nothing_else(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", Rotation(2, 100))
    output = RunOutput(log)
    output.begin(1)

    def say(data: bytes) -> None:
        output.receive(Output.STDOUT, output.lines[Output.STDOUT].seen, data)
        output.store(Output.STDOUT)

    say(b"1\n2\n3\n4\n")
    original = log.forward

    async def late(cursor: object) -> object:
        log.forward = original  # type: ignore[method-assign]
        for number in range(5, 20):
            say(b"%d\n%d\n" % (number, number))
        return await original(cursor)  # type: ignore[arg-type]

    log.forward = late  # type: ignore[method-assign, assignment]
    kept = (await content(log, tail=1)).split()
    assert kept and len(kept) % 2 == 0


# Compressed segments


async def test_rotated_segments_are_compressed_and_read_like_the_others(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", Rotation(4, 600_000, compress=True))
    output = RunOutput(log)
    output.begin(1)
    lines = [b"%07d\n" % number for number in range(300_000)]
    for begin in range(0, len(lines), 2000):
        output.receive(Output.STDOUT, begin * LINE, b"".join(lines[begin : begin + 2000]))
        output.store(Output.STDOUT)
        if log._packing is not None:
            await asyncio.wrap_future(log._packing)
    names = sorted(file.name for file in (tmp_path / "log").iterdir())
    assert [name.partition(".")[2] for name in names] == ["logz", "logz", "logz", "log"]
    assert on_disk(tmp_path / "log") < 4 * 600_000 // 2
    kept = await content(log)
    assert len(kept) > 3 * 600_000 * 0.9 and kept == b"".join(lines)[-len(kept) :]
    assert await content(log, tail=200_000) == b"".join(lines[-200_000:])


@given(
    st.integers(0, 3 * packed.BLOCK), st.integers(-10, 3 * packed.BLOCK), st.integers(0, 2 * packed.BLOCK), st.data()
)
@settings(max_examples=40, deadline=None)
def test_any_part_of_a_compressed_segment_is_what_it_was_and_a_damaged_one_is_short(
    tmp_path_factory: pytest.TempPathFactory, size: int, offset: int, length: int, choice: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("packed")
    plain = bytes(range(251)) * (size // 251 + 1)
    (directory / "plain").write_bytes(plain[:size])
    with (directory / "plain").open("rb") as source, (directory / "packed").open("w+b") as target:
        assert packed.pack(source, target, lambda: True)
        target.flush()
        file = target.fileno()
        assert packed.size_of(file) == size
        wanted = plain[:size][offset : offset + length] if offset >= 0 else b""
        assert packed.read(file, offset, length) == wanted
        at = choice.draw(st.integers(0, target.tell() - 1))
        target.seek(at)
        target.write(b"\x55")
        target.flush()
        found = packed.read(file, offset, length)
        assert len(found) <= length


async def test_a_disk_that_has_no_room_to_compress_keeps_the_segment_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packed, "pack", full)
    log = open_log(tmp_path / "log", "packed")
    await write(log, settle=True)
    assert {file.suffix for file in (tmp_path / "log").iterdir()} == {".log"}
    kept = await content(log)
    assert kept == stream()[-len(kept) :]


async def test_a_log_whose_last_segment_was_compressed_goes_on_behind_it_even_if_it_is_damaged(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    log = open_log(directory, "packed")
    await write(log, 1000 * LINE, settle=True)
    (newest,) = directory.glob("*.log")
    newest.unlink()  # as if the daemon had died before it wrote into a new segment
    position = open_log(directory, "packed").positions(1)[0]
    assert position % LINE == 0 and 0 < position < 1000 * LINE

    last = sorted(directory.glob("*.logz"))[-1]
    last.write_bytes(last.read_bytes()[:-1] + b"\x55")
    successor = open_log(directory, "packed")
    assert 0 < successor.positions(1)[0] < position and not last.exists()
    await write(successor, settle=True)
    kept = await content(open_log(directory, "packed"))
    assert len(kept) > 200 * LINE and kept == stream()[-len(kept) :]


async def test_a_log_that_is_removed_is_compressed_no_further(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", "packed")
    log.close()
    await write(log)
    await log.settle()
    assert {file.suffix for file in (tmp_path / "log").iterdir()} == {".log"}


# Not kept


async def test_a_log_that_is_not_kept_holds_no_byte_of_what_was_written_but_knows_where_it_ends(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", "none")
    await write(log)
    assert open_log(tmp_path / "log", "none").positions(1) == (len(stream()), 0)
    stored = b"".join(file.read_bytes() for file in (tmp_path / "log").iterdir())
    assert b"0001234" not in stored and len(stored) <= 128 * 1024


async def test_what_is_not_kept_waits_for_a_slow_client_and_then_goes(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", Rotation(5, 10 * MB), kept=False)
    output = RunOutput(log)
    output.begin(1)
    slow = output.attach(frozenset(Output))
    sent = b""
    for number in range(300):
        data = b"%09d\n" % number * 1000
        output.receive(Output.STDOUT, len(sent), data)
        output.store(Output.STDOUT)
        sent += data
    assert len(sent) > MAX_BEHIND and on_disk(tmp_path / "log") > len(sent) - MAX_BEHIND - 20_000
    output.finish()
    got = b"".join([data async for _, data in slow.read()])
    assert got == sent
    assert on_disk(tmp_path / "log") <= 2 * OVERHEAD


async def test_a_client_that_leaves_while_it_is_behind_leaves_nothing(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", Rotation(5, 10 * MB), kept=False)
    output = RunOutput(log)
    output.begin(1)
    gone = output.attach(frozenset(Output))
    for number in range(300):
        output.receive(Output.STDOUT, number * 10_000, b"x" * 9_999 + b"\n")
        output.store(Output.STDOUT)
    async with contextlib.aclosing(gone.read()) as reading:
        await anext(reading)
    gone.close()
    assert on_disk(tmp_path / "log") <= 2 * OVERHEAD


async def test_a_client_that_leaves_a_log_that_was_removed_writes_nothing_any_more(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", "none")
    log.hold()
    await write(log)
    log.close()
    before = sorted(tmp_path.rglob("*"))
    log.let_go()
    assert sorted(tmp_path.rglob("*")) == before
