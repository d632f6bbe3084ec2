# SPDX-License-Identifier: Apache-2.0
"""The log: exact after a crash, bounded in size, quick to ask."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercell.node.logs import Entry, Log, Rotation, read, rotation
from hypercell.node.logs.lines import Lines, count, split
from hypercell.node.logs.record import MAX_DATA, decode, decode_all, decode_before, encode
from hypercell.node.types import LogQuery, LogRecord, LogSpec, Output

MANY = Rotation(5, 1 << 30)


def entry(data: bytes, stream: Output = Output.STDOUT, end: int = 0, time_ns: int = 1, run: int = 1) -> Entry:
    return Entry(stream, run, time_ns, end, 0, data)


def write(log: Log, *lines: bytes, first_ns: int = 1) -> None:
    end = log.positions(1)[0]
    entries = []
    for number, line in enumerate(lines):
        end += len(line)
        entries.append(entry(line, end=end, time_ns=first_ns + number))
    while entries:
        entries = entries[log.append(entries) :]


async def ask(log: Log, **query: object) -> list[bytes]:
    records = read(log, LogQuery(**query), lambda: False)  # type: ignore[arg-type]
    return [record.data async for record in records]


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_a_record_reads_as_it_was_written_from_both_ends(data: bytes, run: int, number: int) -> None:
    made = Entry(Output.STDERR, run, number, number, number, data)
    raw = encode(made)
    assert decode(raw, 0) == made == decode_before(raw, len(raw))


@given(st.binary(max_size=400), st.integers(0, 400))
def test_no_bytes_make_the_reader_fail(noise: bytes, at: int) -> None:
    decode(noise, min(at, len(noise)))
    decode_before(noise, min(at, len(noise)))
    list(decode_all(noise))


@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_record_with_any_bit_turned_is_none(data: bytes, choice: st.DataObject) -> None:
    raw = bytearray(encode(entry(data)))
    bit = choice.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    found = decode(bytes(raw), 0)
    padding = 5 * 8 <= bit < 8 * 8  # three bytes that mean nothing, but are covered by the checksum
    assert found is None or (not padding and found != entry(data))
    assert found is None


CHUNKS = st.lists(st.text("ab\n", max_size=20).map(str.encode), max_size=30)


@given(CHUNKS)
def test_lines_are_cut_at_newlines_wherever_the_reads_were_cut(chunks: list[bytes]) -> None:
    lines, found = Lines(), []
    for chunk in chunks:
        lines.add(chunk)
        pieces = lines.pieces()
        lines.commit(sum(map(len, pieces)))
        found += pieces
    assert all(piece.endswith(b"\n") for piece in found)
    assert lines.written == len(b"".join(found)) and lines.seen == len(b"".join(chunks))
    found += lines.pieces(last=True)
    split_up = [line for piece in found for line in split(piece)]
    assert split_up == b"".join(chunks).splitlines(keepends=True)
    assert sum(map(count, found)) == len(split_up)


def test_a_long_line_is_cut_into_pieces_of_16_kib() -> None:
    lines = Lines()
    lines.add(b"x" * (2 * MAX_DATA + 5))
    assert [len(piece) for piece in lines.pieces()] == [MAX_DATA, MAX_DATA]
    assert [len(piece) for piece in lines.pieces(last=True)] == [MAX_DATA, MAX_DATA, 5]


@pytest.mark.parametrize("torn", [1, 7, 30, 44, 45, 46])
async def test_a_torn_last_record_is_cut_off(tmp_path: Path, torn: int) -> None:
    log = Log(tmp_path / "log", MANY)
    write(log, b"one\n", b"two\n")
    log.close()
    (segment,) = (tmp_path / "log").iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole + encode(entry(b"three\n", end=14))[:torn])
    successor = Log(tmp_path / "log", MANY)
    assert successor.positions(1) == (8, 0)
    assert segment.read_bytes() == whole
    write(successor, b"three\n")
    assert await ask(successor) == [b"one\n", b"two\n", b"three\n"]


async def test_a_log_that_is_nothing_but_torn_is_empty(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "00000003.log").write_bytes(b"\xff" * 500_000)
    log = Log(tmp_path / "log", MANY)
    assert log.positions(1) == (0, 0) and await ask(log) == []


async def test_positions_are_of_the_run_that_is_asked_for(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", MANY)
    log.append([Entry(Output.STDOUT, 1, 1, 4, 9, b"abcd"), Entry(Output.STDERR, 2, 2, 0, 3, b"abc")])
    assert log.positions(2) == (0, 3) and log.positions(3) == (0, 0)


async def test_the_log_never_exceeds_its_limit_and_keeps_the_end(tmp_path: Path) -> None:
    limit = 1_000_000
    log = Log(tmp_path / "log", rotation(LogSpec(), limit))
    lines = [b"%06d\n" % number for number in range(60_000)]
    write(log, *lines)
    used = sum(file.stat().st_size for file in (tmp_path / "log").iterdir())
    kept = await ask(log)
    assert used <= limit and len(kept) > 10_000 and kept == lines[-len(kept) :]


@pytest.mark.parametrize("limit", [MANY, Rotation(5, 80_000)])
async def test_tail_is_the_end_whatever_the_segments(tmp_path: Path, limit: Rotation) -> None:
    log = Log(tmp_path / "log", limit)
    lines = [b"%06d\n" % number for number in range(20_000)]
    write(log, *lines)
    kept = await ask(log)
    for wanted in (0, 1, 2, 1000, 7000, len(kept)):
        assert await ask(log, tail=wanted) == kept[len(kept) - wanted :]
    assert await ask(log, tail=10**9) == kept


async def test_tail_reads_only_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(tmp_path / "log", MANY)
    write(log, *(b"%06d\n" % number for number in range(100_000)))
    read_bytes = 0
    original = log.segments.read

    def counting(number: int, offset: int, length: int) -> bytes:
        nonlocal read_bytes
        data = original(number, offset, length)
        read_bytes += len(data)
        return data

    monkeypatch.setattr(log.segments, "read", counting)
    assert await ask(log, tail=3) == [b"%06d\n" % number for number in range(99_997, 100_000)]
    assert read_bytes < 600_000


@pytest.mark.parametrize("tail", range(9))
async def test_tail_counts_lines_not_records(tmp_path: Path, tail: int) -> None:
    log = Log(tmp_path / "log", MANY)
    write(log, b"1\n2\n3\n", b"4\n5\n", b"6")
    assert await ask(log, tail=tail) == [b"1\n", b"2\n", b"3\n", b"4\n", b"5\n", b"6"][max(0, 6 - tail) :]


async def test_tail_counts_only_what_was_asked_for(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", MANY)
    log.append([Entry(Output(1 + n % 2), 1, n, 0, 0, b"%d" % n) for n in range(1, 21)])
    assert await ask(log, tail=2, stdout=False) == [b"17", b"19"]
    assert await ask(log, tail=3, since_ns=19) == [b"19", b"20"]


@pytest.mark.parametrize("limit", [MANY, Rotation(5, 120_000)])
async def test_since_and_until_bound_it(tmp_path: Path, limit: Rotation) -> None:
    log = Log(tmp_path / "log", limit)
    write(log, *(b"%06d\n" % number for number in range(10_000)), first_ns=1000)
    assert await ask(log, since_ns=10_990) == [b"%06d\n" % number for number in range(9_990, 10_000)]
    assert await ask(log, since_ns=10_990, until_ns=10_991) == [b"009990\n", b"009991\n"]
    assert await ask(log, since_ns=20_000) == []


async def test_a_follower_gets_what_comes_until_the_end(tmp_path: Path) -> None:
    log, alive = Log(tmp_path / "log", MANY), True
    write(log, b"0\n")
    got: list[LogRecord] = []

    async def follow() -> None:
        got.extend([record async for record in read(log, LogQuery(follow=True), lambda: alive)])

    following = asyncio.ensure_future(follow())
    for number in range(1, 50):
        write(log, b"%d\n" % number)
        if number % 7 == 0:
            await asyncio.sleep(0.001)
    alive = False
    log.notify()
    await asyncio.wait_for(following, 5)
    assert [record.data for record in got] == [b"%d\n" % number for number in range(50)]


async def test_a_line_says_whether_another_one_follows_at_once(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", MANY)
    write(log, b"0\n1\n2\n", b"3\n", b"4\n5")
    records = [record async for record in read(log, LogQuery(tail=5), lambda: False)]
    told = [(b"1\n", True), (b"2\n", False), (b"3\n", False), (b"4\n", True), (b"5", False)]
    assert [(record.data, record.more) for record in records] == told


async def test_a_follower_until_a_time_ends_then(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", MANY)
    query = LogQuery(follow=True, until_ns=time.time_ns() + 50_000_000)
    assert [record async for record in read(log, query, lambda: True)] == []


async def test_a_reader_survives_rotation_beneath_it(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", Rotation(5, 80_000))
    write(log, *(b"%06d\n" % number for number in range(5_000)))
    reader = read(log, LogQuery(), lambda: False)
    first = await anext(reader)
    write(log, *(b"%06d\n" % number for number in range(5_000, 30_000)))
    rest = [record.data async for record in reader]
    numbers = [int(line) for line in (first.data, *rest)]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 29_999


async def test_a_full_disk_leaves_whole_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    import hypercell.node.logs.log as module

    log = Log(tmp_path / "log", MANY)
    write(log, b"one\n")
    original, room = module.os.pwrite, 10

    def full(file: int, data: bytes, offset: int) -> int:
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = original(file, data[:room], offset)
        room -= written
        return written

    monkeypatch.setattr(module.os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        write(log, b"two\n")
    monkeypatch.undo()
    assert await ask(log) == [b"one\n"]
    write(log, b"two\n")
    assert await ask(Log(tmp_path / "log", MANY)) == [b"one\n", b"two\n"]


async def test_control_characters_are_kept_as_they_are(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", MANY)
    hostile = b"\x1b]0;owned\x07\x00\xff\xfe\r\n"
    write(log, hostile)
    assert await ask(log) == [hostile]


async def test_random_sizes_and_crashes_never_lose_or_double(tmp_path: Path) -> None:
    chance = random.Random(7)
    directory, sent = tmp_path / "log", b""
    log = Log(directory, MANY)
    for _ in range(60):
        pieces = [chance.randbytes(chance.choice((0, 1, 40, 3000, MAX_DATA))) for _ in range(chance.randrange(1, 6))]
        write(log, *pieces)
        sent += b"".join(pieces)
        if chance.random() < 0.3:  # a crash in the middle of the next write
            segment = sorted(directory.iterdir())[-1]
            with segment.open("ab") as file:
                file.write(encode(entry(b"lost" * 100))[: chance.randrange(1, 400)])
            log = Log(directory, MANY)
            assert log.positions(1)[0] == len(sent)
    assert b"".join(await ask(log)) == sent
