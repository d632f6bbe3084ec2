# SPDX-License-Identifier: Apache-2.0
"""The image itself: every shape of inode, directory, xattr and data, read back and accepted by `fsck.erofs`."""

from __future__ import annotations

import io
import os
import random
import subprocess
import tarfile
from pathlib import Path

import pytest

from hypercell.images.erofs import spool
from hypercell.images.erofs.format import crc32c
from tests.images.layers import describe
from tests.images.layers.conftest import Build
from tests.images.layers.tarballs import (
    archive,
    directory,
    extended,
    file,
    gnu_long,
    header,
    link,
    pax,
    record,
    sparse_file,
    symlink,
)


def test_crc32c_has_its_published_check_value() -> None:
    assert crc32c(b"123456789") ^ 0xFFFFFFFF == 0xE3069283


@pytest.mark.parametrize(
    "size", [0, 1, 2047, 2048, 2049, 4095, 4096, 4097, 8192, 65536, 1 << 20, (1 << 20) + 1, 3_000_001]
)
def test_files_of_every_size_are_read_back(build: Build, size: int) -> None:
    data = random.Random(size).randbytes(size)
    image = build(archive(file(b"a", data), file(b"b", data[::-1])))
    assert image.read(b"a") == data and image.read(b"b") == data[::-1]


def test_small_files_share_a_block_with_their_inodes(build: Build) -> None:
    image = build(archive(*(file(b"f%02d" % i, b"x" * 100) for i in range(20))))
    assert image.blocks == 2


def test_small_files_behind_long_xattrs_get_a_block(build: Build) -> None:
    value = b"v" * 3000
    image = build(archive(extended(record(b"SCHILY.xattr.user.a", value)) + file(b"f", b"d" * 1500)))
    assert image.read(b"f") == b"d" * 1500 and image.tree()[b"f"].xattrs == {b"user.a": value}


def test_xattrs_longer_than_a_block_are_read_back(build: Build) -> None:
    records = b"".join(record(b"SCHILY.xattr.user.%d" % i, bytes([i]) * 15000) for i in range(4))
    image = build(archive(extended(records) + file(b"f", b"d"), extended(records) + directory(b"d"), file(b"d/x")))
    assert image.tree()[b"f"].xattrs == {b"user.%d" % i: bytes([i]) * 15000 for i in range(4)}
    assert image.tree()[b"d"].xattrs == image.tree()[b"f"].xattrs


def test_xattrs_of_every_name_space_are_read_back_and_common_ones_are_shared(build: Build) -> None:
    acl = bytes.fromhex("02000000010007000000000004000500000000002000000000000000")
    names = {b"user.a": b"", b"trusted.b": b"1", b"security.c": b"22", b"system.posix_acl_access": acl}
    names[b"system.posix_acl_default"] = acl
    records = b"".join(record(b"SCHILY.xattr." + name, value) for name, value in names.items())
    own = extended(records + record(b"SCHILY.xattr.user.own", b"o"))
    image = build(archive(own + file(b"own"), *(extended(records) + directory(b"d%d" % i) for i in range(5))))
    tree = image.tree()
    assert all(tree[b"d%d" % i].xattrs == names for i in range(5))
    assert tree[b"own"].xattrs == {**names, b"user.own": b"o"} and image.xattr != 0


def test_big_directories_are_sorted_over_many_blocks(build: Build) -> None:
    names = {bytes(random.Random(i).choices(range(33, 127), k=1 + i % 200)).replace(b"/", b"_") for i in range(3000)}
    names -= {b".", b".."}
    image = build(archive(*(gnu_long(b"d/" + name) + file(b"x") for name in sorted(names))))
    assert set(image.directory(image.tree()[b"d"])) == names | {b".", b".."}


@pytest.mark.parametrize("count", range(100, 400, 23))
def test_directories_near_every_bound_are_accepted(build: Build, count: int) -> None:
    image = build(archive(*(file(b"n%06d" % i) for i in range(count))))
    assert len(image.tree()) == count + 1


def test_times_have_nanoseconds_and_the_common_one_costs_nothing(build: Build) -> None:
    members = [file(b"c%d" % i, mtime=1_700_000_000) for i in range(9)]
    image = build(archive(*members, pax(mtime=b"1.000000001") + file(b"odd"), pax(mtime=b"-0.5") + file(b"old")))
    tree = image.tree()
    assert tree[b"odd"].mtime_ns == 10**9 + 1 and tree[b"odd"].extended
    assert tree[b"old"].mtime_ns == -500_000_000
    assert tree[b"c0"].mtime_ns == 1_700_000_000 * 10**9 and not tree[b"c0"].extended


def test_ids_beyond_16_bits_are_kept(build: Build) -> None:
    image = build(archive(pax(uid=b"65536", gid=b"4294967294") + file(b"a"), file(b"b", uid=65535, gid=65535)))
    assert [(f.uid, f.gid) for f in (image.tree()[b"a"], image.tree()[b"b"])] == [(65536, 4294967294), (65535, 65535)]


def test_a_file_may_have_more_names_than_16_bits_count(build: Build) -> None:
    image = build(archive(file(b"a", b"x"), *(link(b"%05d" % i, b"a") for i in range(66_000))))
    assert image.file(image.directory(image.file(image.root_nid))[b"a"]).links == 66_001


def test_a_directory_counts_its_subdirectories(build: Build) -> None:
    assert build(archive(*(directory(b"d/%d" % i) for i in range(5)))).tree()[b"d"].links == 7


def test_no_inode_number_is_zero(build: Build) -> None:
    assert all(file.nid > 0 for file in build(archive(file(b"a"), symlink(b"s", b"a"))).tree().values())


def test_symlinks_of_every_length_are_read_back(build: Build) -> None:
    lengths = [1, 31, 32, 100, 3967, 3968, 4031, 4032, 4033, 4064, 4065, 4095]
    image = build(archive(*(pax(linkpath=b"t" * n) + symlink(b"%d" % n, b"") for n in lengths)))
    assert [image.read(b"%d" % n) for n in lengths] == [b"t" * n for n in lengths]


def sparse_archive(tmp_path: Path, version: str, size: int, pieces: dict[int, bytes]) -> bytes:
    path = tmp_path / "s"
    with path.open("wb") as out:
        for offset, data in pieces.items():
            out.seek(offset)
            out.write(data)
        out.truncate(size)
    options = ["--format=gnu"] if version == "gnu" else ["--format=pax", f"--sparse-version={version}"]
    return subprocess.run(["tar", "-C", tmp_path, *options, "-Sc", "s"], check=True, capture_output=True).stdout


@pytest.mark.parametrize("version", ["gnu", "0.0", "0.1", "1.0"])
def test_sparse_files_are_read_back_and_their_holes_cost_nothing(build: Build, tmp_path: Path, version: str) -> None:
    pieces = {i * 1_000_000 + i: bytes([i + 1]) * 5000 for i in range(30)}
    layer = sparse_archive(tmp_path, version, 50_000_000, pieces)
    image = build(layer)
    assert image.read(b"s") == (tmp_path / "s").read_bytes()
    assert image.blocks < 200


def test_a_sparse_file_of_half_a_tebibyte_takes_a_few_blocks_on_disk(build: Build, tmp_path: Path) -> None:
    size = 1 << 39
    image = build(archive(sparse_file(b"s", b"4096,512,%d,512" % (size - 512), size, b"a" * 512 + b"b" * 512)))
    s = image.tree()[b"s"]
    assert s.size == size and s.layout == 4
    assert (tmp_path / "root.erofs").stat().st_blocks * 512 < 1 << 20


def test_small_and_full_and_empty_sparse_files_are_ordinary(build: Build) -> None:
    def sparse(extents: bytes, size: int, data: bytes) -> bytes:
        return sparse_file(b"s", extents, size, data)

    assert build(archive(sparse(b"10,5", 1000, b"abcde"))).read(b"s") == bytes(10) + b"abcde" + bytes(985)
    assert build(archive(sparse(b"0,100000", 100_000, b"y" * 100_000))).tree()[b"s"].layout == 0
    assert build(archive(sparse(b"0,0", 0, b""))).tree()[b"s"].size == 0
    assert build(archive(sparse(b"70000,0", 70_000, b""))).read(b"s") == bytes(70_000)


def test_runs_of_zeros_take_no_space_on_disk(build: Build, tmp_path: Path) -> None:
    data = b"a" + bytes(20 << 20) + b"b"
    image = build(archive(file(b"z", data)))
    assert image.read(b"z") == data
    assert (tmp_path / "root.erofs").stat().st_blocks * 512 < 2 << 20


def test_data_that_a_higher_layer_removes_takes_no_space_on_disk(build: Build, tmp_path: Path) -> None:
    big = random.Random(0).randbytes(4 << 20)
    image = build(archive(file(b"big", big), file(b"d/big", big)), archive(file(b".wh.big"), file(b"d", b"small")))
    assert image.read(b"d") == b"small"
    assert (tmp_path / "root.erofs").stat().st_blocks * 512 < 1 << 20


def test_where_the_file_system_cannot_punch_holes_the_image_is_the_same(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = archive(file(b"big", b"x" * 100_000), file(b"keep", b"k" * 5000)), archive(file(b".wh.big"))
    punched = build(*layers).data

    class Libc:
        @staticmethod
        def fallocate(*_: object) -> int:
            return -1

    monkeypatch.setattr(spool, "_libc", Libc)
    monkeypatch.setattr(spool.ctypes, "get_errno", lambda: spool.errno.EOPNOTSUPP)
    assert build(*layers).data == punched


def test_a_short_write_is_carried_on(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwritev
    layer = archive(*(file(b"%d" % i, bytes([i]) * 9000) for i in range(9)))
    whole = build(layer).data

    def some(fd: int, pieces: list[bytes], offset: int) -> int:
        return write(fd, [bytes(b"".join(pieces)[:777])], offset)

    monkeypatch.setattr(spool.os, "pwritev", some)
    assert build(layer).data == whole


@pytest.mark.root
def test_the_kernel_mounts_the_image_and_shows_what_gnu_tar_unpacks(build: Build, tmp_path: Path) -> None:
    layer = archive(
        header(b"./", b"5", mode=0o755, mtime=5),
        directory(b"d", 0o1777),
        pax(mtime=b"1700000000.123456789", SCHILY__xattr__user__k=b"v") + file(b"d/f", b"x" * 10_000, mode=0o4755),
        file(b"d/small", b"hello", uid=70_000, gid=5),
        link(b"hard", b"d/f"),
        symlink(b"soft", b"d/f"),
        pax(linkpath=b"t" * 4090) + symlink(b"long", b""),
        header(b"null", b"3", mode=0o666, major=1, minor=3),
        header(b"disk", b"4", mode=0o660, major=259, minor=1000),
        header(b"pipe", b"6"),
        *(file(b"many/%04d" % i, b"%d" % i) for i in range(500)),
        directory(b"many"),
        sparse_file(b"hole", b"500000,512,1000000,0", 1_000_000, b"x" * 512),
    )
    image = build(layer)
    mounted, unpacked = tmp_path / "mounted", tmp_path / "unpacked"
    mounted.mkdir()
    unpacked.mkdir()
    tar = ["tar", "-C", unpacked, "--xattrs", "--xattrs-include=*", "--same-owner", "-px"]
    subprocess.run(tar, input=layer, check=True)
    subprocess.run(["mount", "-t", "erofs", "-o", "loop,ro", tmp_path / "root.erofs", mounted], check=True)
    try:
        assert describe.of_directory(mounted) == describe.of_directory(unpacked) == describe.of_image(image)
    finally:
        subprocess.run(["umount", mounted], check=True)


def test_fsck_extracts_what_went_in(build: Build, tmp_path: Path) -> None:
    generator = random.Random(7)
    contents = {f"d{i % 7}/f{i}": generator.randbytes(generator.choice([0, 10, 3000, 5000, 20_000])) for i in range(60)}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    build(out.getvalue())
    target = tmp_path / "extracted"
    subprocess.run(["fsck.erofs", f"--extract={target}", tmp_path / "root.erofs"], check=True, capture_output=True)
    assert {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()} == contents
