# SPDX-License-Identifier: Apache-2.0
"""What GNU tar, bsdtar and tarfile list, we list; where they disagree, we refuse."""

from __future__ import annotations

import io
import random
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypercell.images.tar import ByteSource, LayerError, TarReader
from tests.images.layers.tarballs import archive, extended, file, gnu_long, header, link, pax, record, symlink

Listing = list[tuple[bytes, int]]
"""(name, size) of each member"""


def ours(data: bytes, chunk: int = 1000) -> Listing:
    chunks = (data[i : i + chunk] for i in range(0, len(data), chunk))
    return [(member.name, member.size) for member in TarReader(ByteSource(chunks))]


def of_tarfile(data: bytes) -> Listing:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", errors="surrogateescape") as tar:
        return [(m.name.encode("utf-8", "surrogateescape"), m.size if m.isreg() else 0) for m in tar]


def of_program(data: bytes, *command: str) -> list[bytes]:
    done = subprocess.run(command, input=data, capture_output=True, env={"LC_ALL": "C.UTF-8"})
    if done.returncode:
        raise OSError(done.stderr)
    return done.stdout.splitlines()


def of_gnu_tar(data: bytes) -> list[bytes]:
    return of_program(data, "tar", "--quoting-style=literal", "-P", "-t")


def of_bsdtar(data: bytes) -> list[bytes]:
    return of_program(data, "bsdtar", "-t", "-f", "-")


def same_as_all(data: bytes) -> Listing:
    """Our listing, after seeing that the others have the same."""
    listing = ours(data)
    names = [name.rstrip(b"/") for name, _ in listing]
    assert [(name.rstrip(b"/"), size) for name, size in of_tarfile(data)] == list(
        zip(names, [size for _, size in listing], strict=True)
    )
    assert [name.rstrip(b"/") for name in of_gnu_tar(data)] == names
    assert [name.rstrip(b"/") for name in of_bsdtar(data)] == names
    return listing


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what archivers treat specially."""
    root = tmp_path_factory.mktemp("source")
    (root / "plain").write_bytes(b"x" * 1000)
    (root / "empty").touch()
    (root / "link").hardlink_to(root / "plain")
    (root / "symlink").symlink_to("s" * 150)
    (root / "d").mkdir()
    (root / "d" / ("long" * 60)).write_bytes(b"y" * 513)
    deep = root / ("p" * 90) / ("q" * 90) / ("r" * 90)
    deep.mkdir(parents=True)
    (deep / "f").write_bytes(b"z")
    (root / "grün").write_bytes(b"u")
    with (root / "sparse").open("wb") as out:
        for i in range(40):
            out.seek(i * 100_000)
            out.write(b"data" * 100)
        out.truncate(8_000_000)
    with (root / "hole").open("wb") as out:
        out.truncate(3_000_000)
    return root


GNU = ["tar", "-C", "{}", "--sort=name", "-c", "."]
WRITERS = {
    "gnu": [*GNU, "--format=gnu"],
    "gnu-sparse": [*GNU, "--format=gnu", "-S"],
    "pax": [*GNU, "--format=pax"],
    "pax-sparse-0.0": [*GNU, "--format=pax", "-S", "--sparse-version=0.0"],
    "pax-sparse-0.1": [*GNU, "--format=pax", "-S", "--sparse-version=0.1"],
    "pax-sparse-1.0": [*GNU, "--format=pax", "-S", "--sparse-version=1.0"],
    "oldgnu": [*GNU, "--format=oldgnu"],
    "bsdtar-pax": ["bsdtar", "-C", "{}", "--format=pax", "-cf", "-", "."],
    "bsdtar-gnutar": ["bsdtar", "-C", "{}", "--format=gnutar", "-cf", "-", "."],
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_others_write_is_read_as_they_read_it(source: Path, writer: str) -> None:
    command = [part.format(source) for part in WRITERS[writer]]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    listing = dict(same_as_all(data))
    assert listing[b"./sparse"] == 8_000_000 and listing[b"./hole"] == 3_000_000 and len(listing) == 14


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_tarfile_writes_is_read_as_others_read_it(source: Path, format: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for path in sorted(source.rglob("*")):
            if len(path.name) < 100 and not path.is_symlink():
                tar.add(path, str(path.relative_to(source)), recursive=False)
    assert len(same_as_all(out.getvalue())) == 11


@pytest.mark.parametrize(
    "data",
    [
        archive(file(b"a", b"1"), link(b"b", b"a"), symlink(b"c", b"a")),
        archive(header(b"dir/", b"\x00"), header(b"old", b"\x00", 3) + b"abc".ljust(512, b"\x00")),
        archive(header(b"v7", magic=bytes(8))),
        archive(header(b"contiguous", b"7", 4) + b"abcd".ljust(512, b"\x00")),
        archive(file(b"f", prefix=b"some/prefix")),
        archive(file(b"n" * 100, prefix=b"p" * 155)),
        archive(gnu_long(b"x" * 300) + gnu_long(b"y" * 300, b"K") + symlink(b"s", b"t")),
        archive(pax(path=b"x" * 300, size=b"4") + header(b"s", size=4) + b"abcd".ljust(512, b"\x00")),
        archive(extended(record(b"path", "grün".encode()) + record(b"mtime", b"1.5")) + file(b"s")),
        archive(file(b"a", uid=b"\x80\x00\x00\x00\x00\x0f\xff\xff")),
        archive(file(b"a", mtime=b"\xff" * 12)),
        file(b"a") + bytes(512),
        file(b"a"),
        archive(file(b"a")) + archive(file(b"b")),
    ],
)
def test_unusual_archives_are_read_as_others_read_them(data: bytes) -> None:
    assert same_as_all(data)


_BASE = archive(
    file(b"first", b"1" * 700),
    pax(path=b"second/long", mtime=b"1.25") + file(b"s", b"2" * 30),
    gnu_long(b"third" * 30) + file(b"t"),
    symlink(b"l", b"first"),
    link(b"h", b"first"),
)
_ALPHABET = b"\x00\xff\x80 01789xgLKS5=\n"


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, len(_BASE) - 1), st.sampled_from(list(_ALPHABET))), min_size=1, max_size=3))
def test_a_damaged_archive_is_refused_or_read_as_tarfile_reads_it(damage: list[tuple[int, int]]) -> None:
    """Headers keep valid checksums, so that the damage reaches the parser."""
    data = bytearray(_BASE)
    for position, value in damage:
        data[position] = value
        block = position - position % 512
        if data[block + 257 : block + 262] == b"ustar":
            data[block + 148 : block + 156] = b" " * 8
            data[block + 148 : block + 156] = b"%06o\x00 " % sum(data[block : block + 512])
    try:
        listing = ours(bytes(data))
    except LayerError:
        return
    assert [(name.rstrip(b"/"), size) for name, size in listing] == [
        (name.rstrip(b"/"), size) for name, size in of_tarfile(bytes(data))
    ]


def test_random_bytes_never_crash_the_reader() -> None:
    generator = random.Random(1)
    for _ in range(300):
        data = bytearray(_BASE)
        for _ in range(generator.randrange(1, 30)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        del data[generator.randrange(len(data)) :]
        try:
            ours(bytes(data), chunk=generator.randrange(1, 2000))
        except LayerError as error:
            assert str(error).isprintable()
