# SPDX-License-Identifier: Apache-2.0
"""Contexts: what comes in is bounded, stays a stream, and never becomes a path."""

from __future__ import annotations

import asyncio
import bz2
import io
import lzma
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hypercell.base.errors import InvalidArgument, NoSpace
from hypercell.base.path_patterns import IgnoreRules
from hypercell.engines.build import staging, tree
from hypercell.engines.build.selection import checksum, select
from hypercell.engines.build.staging import Staged, Staging
from hypercell.engines.build.tree import Entry, Tree
from tests.support.images import compress, tar

FILES: dict[str, bytes | str | None] = {
    "a": None,
    "a/file": b"content",
    "a/link": "file",
    "empty": b"",
    "bin/run": b"#!",
}


async def body(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 700):
        yield data[start : start + 700]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Staging]:
    yield Staging(tmp_path / "builds", 0)
    # What is staged has no name, so nothing can be left.
    assert list((tmp_path / "builds").iterdir()) == []


def special(*members: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return out.getvalue()


def named(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "xz", "bzip2"])
async def test_a_context_is_understood_in_every_compression(room: Staging, compression: str) -> None:
    pack = {"xz": lzma.compress, "bzip2": bz2.compress}.get(compression, lambda data: compress(data, compression))
    with await room.stage(body(pack(tar(FILES)))) as staged:
        assert sorted(staged.tree.entries) == ["", "a", "a/file", "a/link", "bin", "bin/run", "empty"]
        assert await staged.read(staged.tree.entries["a/file"], 7) == b"content"
        assert staged.tree.entries["bin/run"].mode == 0o755
        assert staged.tree.entries["bin"] == tree.IMPLIED
        with pytest.raises(InvalidArgument, match="larger than 6"):
            await staged.read(staged.tree.entries["a/file"], 6)


@pytest.mark.parametrize(
    "members",
    [
        [named("../x")], [named("a/../../x")], [named("x", tarfile.LNKTYPE, "nothing")],
        [named("x", tarfile.LNKTYPE, "../../etc/passwd")], [named("f"), named("f/below")], [named(".")],
        [named("a", tarfile.SYMTYPE, "/etc"), named("a/passwd")], [named("n" * 5000)],
    ],
)  # fmt: skip
async def test_a_hostile_member_is_refused(room: Staging, members: list[tarfile.TarInfo]) -> None:
    with pytest.raises(InvalidArgument):
        await room.stage(body(special(*members)))


@pytest.mark.parametrize("data", [b"no tar at all" * 100, tar(FILES)[:700], compress(tar(FILES), "gzip")[:-20]])
async def test_what_is_no_archive_is_refused(room: Staging, data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="not a usable archive"):
        await room.stage(body(data))


async def test_the_last_member_of_a_name_counts(room: Staging) -> None:
    data = special(
        named("d", tarfile.DIRTYPE), named("d/x", size=1), named("d", size=2), named("e", size=3), named("e")
    )
    with await room.stage(body(data)) as staged:
        assert {path: entry.size for path, entry in staged.tree.entries.items()} == {"": 0, "d": 2, "e": 0}


async def test_a_hard_link_is_the_file_that_it_names(room: Staging) -> None:
    with await room.stage(body(special(named("a", size=5), named("b", tarfile.LNKTYPE, "./a")))) as staged:
        assert staged.tree.entries["a"] == staged.tree.entries["b"]


async def test_sizes_and_numbers_are_bounded(room: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "MAX_BYTES", 20_000)
    with pytest.raises(InvalidArgument, match="larger than"):
        await room.stage(body(special(named("a", size=12_000), named("b", size=12_000))))
    monkeypatch.setattr(tree, "MAX_ENTRIES", 10)
    with pytest.raises(InvalidArgument, match="more than 10 files"):
        await room.stage(body(special(*(named(f"{number}") for number in range(20)))))
    with pytest.raises(InvalidArgument, match="more than 10 files"):
        await room.stage(body(special(named("/".join("d" * 20)))))


async def test_directories_are_as_deep_as_a_name_allows(room: Staging) -> None:
    deepest = "/".join("d" * 2048)
    with await room.stage(body(special(named(deepest)))) as staged:
        assert staged.tree.entries[deepest].kind == "file"
        assert len(staged.tree.entries) == 2049


async def test_the_reserve_of_the_disk_is_kept(tmp_path: Path) -> None:
    with pytest.raises(NoSpace):
        await Staging(tmp_path, 1 << 60).stage(body(tar(FILES)))


async def test_a_client_that_goes_leaves_nothing(room: Staging) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield tar(FILES)[:1024]
        begun.set()
        await asyncio.Event().wait()

    work = asyncio.ensure_future(room.stage(endless()))
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_archives_in_it_are_told_from_files_that_look_like_some(room: Staging) -> None:
    inner: dict[str, bytes | str | None] = {
        "tar": tar({"x": b"1"}),
        "gz": compress(tar({"x": b"1"}), "gzip"),
        "text": b"text" * 1000,
        "text.gz": compress(b"text" * 1000, "gzip"),
        "broken": b"\x1f\x8b" + b"x" * 100,
        "empty": b"",
    }
    with await room.stage(body(tar(inner))) as staged:
        found = {}
        for name in inner:
            unpacked = await room.unpacked(staged, staged.tree.entries[name])
            found[name] = unpacked is not None
            if unpacked is not None:
                assert unpacked.tree.entries["x"].size == 1
                unpacked.close()
    assert found == {"tar": True, "gz": True, "text": False, "text.gz": False, "broken": False, "empty": False}


def trees(**entries: str | None) -> Staged:
    """Symlinks, directories (None), and files (empty)."""
    made = Tree()
    for name, link in entries.items():
        kind = "directory" if link is None else "symlink" if link else "file"
        made.add(name.replace("_", "/"), Entry(kind, 0o644, link=link or "", digest=name))
    return Staged(io.BytesIO(), made)


def test_symlinks_lead_nowhere_but_into_the_tree() -> None:
    made = trees(a=None, a_f="", up="../../../a/f", abs="/a/f", loop="loop", dir="a", out="/etc/passwd").tree
    assert [made.resolve(path) for path in ("up", "abs", "dir/f", "dir/../a/f", "./a//f")] == ["a/f"] * 5
    assert [made.resolve(path) for path in ("loop", "out", "a/g", "a/f/x")] == [None] * 4
    assert made.resolve("") == ""


@pytest.mark.parametrize(
    ("sources", "paths"),
    [
        (("a",), ["a"]), (("/a/", "./b"), ["a", "b"]), (("*",), ["a", "b", "c.go"]), (("a/*",), ["a/x", "a/y.go"]),
        (("*/*.go",), ["a/y.go"]), (("../../b",), ["b"]), ((".",), [""]), (("?", "c*"), ["a", "b", "c.go"]),
    ],
)  # fmt: skip
def test_sources_are_paths_and_patterns(sources: tuple[str, ...], paths: list[str]) -> None:
    staged = trees(a=None, a_x="", b="", **{"a_y.go": "", "c.go": ""})
    assert [item.path for item in select(staged, sources, "COPY", "build context")] == paths


@pytest.mark.parametrize("source", ["nothing", "*.c", "b/x", "[", "b/*"])
def test_a_source_that_is_not_there_is_told(source: str) -> None:
    with pytest.raises(InvalidArgument):
        select(trees(b=""), (source,), "COPY", "build context")


def test_a_checksum_is_of_names_types_modes_and_contents_alone() -> None:
    def sum_of(**changes: object) -> str:
        made = Tree()
        values = {"kind": "file", "mode": 0o644, "digest": "d", **changes}
        made.add("d/f", Entry(**values))  # type: ignore[arg-type]
        return checksum(select(Staged(io.BytesIO(), made), ("d",), "COPY", "x"))

    same = sum_of()
    assert same.startswith("dir:")
    assert [sum_of(**{name: 7}) == same for name in ("mtime_ns", "uid", "gid", "offset")] == [True] * 4
    different = ({"mode": 0o600}, {"digest": "e"}, {"kind": "fifo"}, {"link": "x"}, {"xattrs": (("a", "b"),)})
    assert len({same, *(sum_of(**change) for change in different)}) == 6


def test_what_is_excluded_goes_and_directories_stay_for_what_is_excepted() -> None:
    made = trees(a=None, a_x="", a_y="", b=None, b_x="").tree
    made.ignore(IgnoreRules(["a", "b", "!a/x"]))
    assert sorted(made.entries) == ["", "a", "a/x"]
