# SPDX-License-Identifier: Apache-2.0
"""A VM's directory and record, users, and the recorder of last words."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercell.base.errors import Internal, InvalidArgument, Unavailable
from hypercell.vm import uids
from hypercell.vm.recorder import KEPT, PipeFollower, Recorder, printable
from hypercell.vm.records import Record, VmDirectory, parse_record
from hypercell.vm.uids import UidPool

RECORD = Record("vm", 2_000_001, "tcg", ["/sys/fs/cgroup/memory/hypercell/vm"], pid=12, start_time=34)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    directory = VmDirectory.create(tmp_path / "vms", "vm")
    assert directory.read_record() is None
    directory.write_record(RECORD)
    assert directory.read_record() == RECORD
    directory.remove()
    assert VmDirectory.open(tmp_path / "vms", "vm") is None
    assert VmDirectory.ids(tmp_path / "vms") == []


@pytest.mark.parametrize(
    "change",
    [
        {"born": "other"},
        {"born": "a/b"},
        {"born": 1},
        {"uid": -1},
        {"uid": "0"},
        {"pid": True},
        {"pid": None},
        {"boot": 1},
        {"cgroups": "x"},
        {"cgroups": ["/sys/fs/cgroup/memory/system.slice"]},
        {"extra": 1},
    ],
)
def test_a_record_that_makes_no_sense_is_none(change: dict[str, object]) -> None:
    assert parse_record(json.dumps({**asdict(RECORD), **change}).encode()) is None


@given(st.binary(max_size=100))
def test_any_bytes_are_a_record_or_none(data: bytes) -> None:
    assert parse_record(data) is None


def test_a_socket_is_made_however_long_the_path(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    directory = VmDirectory.create(deep, "f" * 64)
    listener = directory.listen("agent.sock")
    assert (deep / ("f" * 64) / "agent.sock").is_socket()
    listener.close()
    directory.remove()


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vm").mkdir(mode=0o755)
    with pytest.raises(Internal):
        VmDirectory.open(tmp_path, "vm")


def test_a_link_in_the_directory_is_not_followed(tmp_path: Path) -> None:
    directory = VmDirectory.create(tmp_path / "vms", "vm")
    target = tmp_path / "target"
    target.write_text("precious")
    for name in ("vm.json.new", "log.pipe"):
        (directory.path / name).symlink_to(target)
    with pytest.raises(OSError):
        directory.write_record(RECORD)
    with pytest.raises(OSError):
        directory.open_pipe("log.pipe")
    directory.remove()
    assert target.read_text() == "precious"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a,b", "-a", "a\n", "x" * 129])
def test_an_id_is_a_plain_file_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgument):
        VmDirectory.create(tmp_path, name)


def test_no_user_id_is_given_out_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uids, "in_use", lambda uid: uid == 103)
    pool = UidPool(100, 5, tmp_path)
    pool.hold(101)
    taken = [pool.take() for _ in range(3)]
    assert sorted(taken) == [100, 102, 104]
    with pytest.raises(Unavailable):
        pool.take()
    pool.release(taken[0])
    assert pool.take() == taken[0]


def test_a_user_with_processes_is_in_use() -> None:
    assert uids.in_use(os.getuid())
    assert not uids.in_use(3_999_999_999)


@pytest.mark.parametrize(("base", "count"), [(0, 10), (-5, 10), (1000, 0), (2**32 - 5, 10)])
def test_user_ids_that_do_not_exist_are_refused(tmp_path: Path, base: int, count: int) -> None:
    with pytest.raises(InvalidArgument):
        UidPool(base, count, tmp_path)


def test_daemons_begin_with_different_users() -> None:
    assert len({UidPool(1, 10**6, Path(f"/run/{n}")).take() for n in range(10)}) == 10


def test_last_words_are_bounded_however_much_is_said(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "console.log")
    for number in range(100):
        recorder.append(b"%06d" % number * 1000)
        assert (tmp_path / "console.log").stat().st_size <= 2 * KEPT + 6000
    assert recorder.tail().endswith(b"000099")
    assert len(recorder.tail()) == KEPT
    recorder.append(b"x" * (10 * KEPT) + b"end")
    assert recorder.tail().endswith(b"xxend")


def test_what_would_move_a_terminals_cursor_is_replaced() -> None:
    shown = printable(b"a\x1b[2J\x9bb\r\nc\td\x00\xff\x07")
    assert (
        shown == "a\N{REPLACEMENT CHARACTER}[2J" + "\N{REPLACEMENT CHARACTER}b\nc\td" + "\N{REPLACEMENT CHARACTER}" * 3
    )


async def test_a_pipe_that_nobody_reads_never_blocks_its_writer(tmp_path: Path) -> None:
    directory = VmDirectory.create(tmp_path / "vms", "vm")
    writer = directory.make_pipe("log.pipe")
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    recorder = Recorder(tmp_path / "log")
    follower = PipeFollower(directory.open_pipe("log.pipe"), recorder)
    await asyncio.sleep(0.01)
    os.write(writer, b"last words")
    follower.finish()
    assert recorder.tail().endswith(b"last words")
    os.close(writer)
    directory.remove()
