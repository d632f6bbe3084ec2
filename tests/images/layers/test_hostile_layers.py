# SPDX-License-Identifier: Apache-2.0
"""Layers made to break out, to mislead or to exhaust. The `build` fixture asserts for each that no path is touched."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat

import pytest
from backports import zstd

from hypercell.images.layers import LayerError, LimitExceeded, Limits, MalformedArchive, chain_id
from tests.images.layers.conftest import Build
from tests.images.layers.tarballs import (
    archive,
    base256,
    directory,
    extended,
    file,
    gnu_long,
    header,
    link,
    padded,
    pax,
    record,
    sparse_file,
    sparse_records,
    symlink,
)


def refused(build: Build, *layers: bytes, match: str, limits: Limits | None = None) -> LayerError:
    with pytest.raises(LayerError, match=match) as caught:
        build(*layers, limits=limits)
    return caught.value


# A1: writing through a symlink


def test_a1_a_member_below_a_symlink_of_its_layer_is_refused(build: Build) -> None:
    error = refused(build, archive(symlink(b"escape", b"/tmp"), file(b"escape/x", b"!")), match="not a directory")
    assert error.member == b"escape/x" and error.layer == 0


def test_a1_a_member_below_a_symlink_of_a_lower_layer_replaces_it(build: Build) -> None:
    tree = build(archive(symlink(b"escape", b"/tmp")), archive(file(b"escape/x", b"!"))).tree()
    assert set(tree) == {b".", b"escape", b"escape/x"} and stat.S_ISDIR(tree[b"escape"].mode)


def test_a1_a_member_below_a_file_of_its_layer_is_refused(build: Build) -> None:
    refused(build, archive(file(b"f"), file(b"f/x")), match="not a directory")


def test_a1_a_symlink_may_point_anywhere_and_is_never_followed(build: Build) -> None:
    targets = [b"/etc/passwd", b"../../../..", b"/proc/self/root", b"\xff\xfe", b"a" * 4095]
    image = build(archive(*(pax(linkpath=t) + symlink(b"l%d" % i, b"") for i, t in enumerate(targets))))
    assert [image.read(b"l%d" % i) for i in range(len(targets))] == targets


# A2: whiteouts below a symlink


@pytest.mark.parametrize("marker", [b"etc/.wh.passwd", b"etc/.wh..wh..opq"])
def test_a2_a_whiteout_below_a_symlink_hides_nothing(build: Build, marker: bytes) -> None:
    lower = archive(directory(b"real"), file(b"real/passwd"), symlink(b"etc", b"real"))
    assert set(build(lower, archive(file(marker))).tree()) == {b".", b"real", b"real/passwd", b"etc"}


# A3: hard links


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        (b"absent", "not there"),
        (b"later", "not there"),
        (b"dir", "to a directory"),
        (b"l/f", "not a directory"),
        (b"../f", r"\.\."),
        (b"/etc/passwd", "not there"),
        (b"", "empty"),
        (b"hard", "to itself|not there"),
        (b".", "to a directory"),
        (b"gone", "not there"),
    ],
)
def test_a3_a_hard_link_to_what_is_no_earlier_file_is_refused(build: Build, target: bytes, rule: str) -> None:
    lower = archive(file(b"gone"), directory(b"dir"), file(b"dir/f"), symlink(b"l", b"dir"))
    refused(build, lower, archive(file(b".wh.gone"), link(b"hard", target), file(b"later")), match=rule)


def test_a3_a_hard_link_to_itself_is_refused(build: Build) -> None:
    refused(build, archive(file(b"a"), link(b"./a", b"a")), match="itself")


# A4: names


@pytest.mark.parametrize("name", [b"../x", b"/../x", b"a/./../../b", b"a/..", b"..", b"a/../b"])
def test_a4_a_name_with_dot_dot_is_refused(build: Build, name: bytes) -> None:
    refused(build, archive(file(name)), match=r"\.\.")


@pytest.mark.parametrize("name", [b"/abs/x", b"./abs/x", b"//abs/./x", b"abs//x"])
def test_a4_an_absolute_or_dotted_name_is_one_below_the_root(build: Build, name: bytes) -> None:
    assert set(build(archive(file(name))).tree()) == {b".", b"abs", b"abs/x"}


def test_a4_an_empty_name_is_refused(build: Build) -> None:
    refused(build, archive(file(b"")), match="empty")


@pytest.mark.parametrize("name", [b".", b"/", b"./."])
def test_a4_a_root_that_is_not_a_directory_is_refused(build: Build, name: bytes) -> None:
    refused(build, archive(symlink(name, b"/tmp")), match="root")
    refused(build, archive(file(b"a"), link(name, b"a")), match="root")


def test_a4_a_nul_in_a_name_is_refused(build: Build) -> None:
    refused(build, archive(pax(path=b"a\x00b") + file(b"a")), match="NUL")
    refused(build, archive(pax(linkpath=b"a\x00b") + symlink(b"a", b"b")), match="NUL")
    refused(build, archive(gnu_long(b"a\x00b") + file(b"a")), match="NUL")


def test_a4_names_up_to_the_kernels_bounds_pass_and_longer_ones_do_not(build: Build) -> None:
    component = b"n" * 255
    longest = b"/".join([component] * 15)
    assert longest in build(archive(gnu_long(longest) + file(b"x"))).tree()
    refused(build, archive(gnu_long(b"n" * 256) + file(b"x")), match="component")
    refused(build, archive(pax(path=b"/".join([component] * 17)) + file(b"x")), match="4096")
    refused(build, archive(pax(linkpath=b"t" * 4096) + symlink(b"x", b"")), match="4095")


# A5: sizes


@pytest.mark.parametrize("size", [base256(-1, 12), base256(-(1 << 80), 12), b"\xff" * 12])
def test_a5_a_negative_size_is_refused(build: Build, size: bytes) -> None:
    refused(build, archive(header(size=size)), match="negative")


@pytest.mark.parametrize("size", [base256(1 << 70, 12), base256((1 << 63) - 512, 12)])
def test_a5_a_size_beyond_all_bounds_is_refused(build: Build, size: bytes) -> None:
    refused(build, archive(header(size=size)), match="64 bits|more than")


@pytest.mark.parametrize("size", [b"-0000000001\x00", b"+0000000001\x00", b"0x000000010\x00", b"00_1\x00", b"9\x00"])
def test_a5_a_number_that_is_not_octal_is_refused(build: Build, size: bytes) -> None:
    refused(build, archive(header(size=size.ljust(12, b"\x00"))), match="octal")


@pytest.mark.parametrize("first", [0x81, 0xC0, 0xFE])
def test_a5_a_base_256_number_that_readers_decode_differently_is_refused(build: Build, first: int) -> None:
    refused(build, archive(header(size=bytes([first]) + bytes(11))), match="base-256")


def test_a5_a_size_beyond_the_archive_is_refused(build: Build) -> None:
    refused(build, header(size=1 << 20) + bytes(1024), match="truncated")


@pytest.mark.parametrize("number", [-2, 1 << 32, (1 << 32) - 1])
def test_a5_an_id_that_the_kernel_cannot_have_is_refused(build: Build, number: int) -> None:
    refused(build, archive(header(uid=base256(number, 8))), match="out of range")
    refused(build, archive(header(gid=base256(number, 8))), match="out of range")


# A6: two readings of one archive


def test_a6_a_pax_size_that_differs_from_the_headers_is_refused(build: Build) -> None:
    hidden = file(b"hidden", b"x")
    refused(build, archive(pax(size=b"1024") + header(b"a", size=512) + hidden), match="differ")


def test_a6_a_pax_size_alone_counts(build: Build) -> None:
    inner = file(b"not-a-member", b"x")
    layer = archive(pax(size=str(len(inner)).encode()) + header(b"a", size=0) + inner)
    image = build(layer)
    assert set(image.tree()) == {b".", b"a"} and image.read(b"a") == inner


@pytest.mark.parametrize("between", [pax(path=b"y"), gnu_long(b"y"), gnu_long(b"y", b"K"), extended(b"", b"g")])
def test_a6_an_extended_header_before_another_is_refused(build: Build, between: bytes) -> None:
    refused(build, archive(pax(path=b"x") + between + file(b"a")), match="between")


def test_a6_two_long_names_for_one_member_are_refused(build: Build) -> None:
    refused(build, archive(gnu_long(b"x") + gnu_long(b"y") + file(b"a")), match="between")


@pytest.mark.parametrize("last", [pax(path=b"x"), gnu_long(b"x"), gnu_long(b"x", b"K")])
def test_a6_an_extended_header_without_a_member_is_refused(build: Build, last: bytes) -> None:
    refused(build, archive(last), match="without a member")


@pytest.mark.parametrize(
    "data",
    [
        b"garbage",
        b"0 path=x\n",
        b"010 path=x\n",
        b"-9 path=x\n",
        b" 9 path=x\n",
        b"10 path=xy",
        b"9 path=xyz\n",
        b"99 path=x\n",
        b"9 pathxy\n",
        b"7 =xyz\n",
        b"9 path=x\n\n",
        b"9 path=x\nrest",
        b"3 \n",
        b"99999999999999999999 path=x\n",
        b"12 pa\x00h=xyz\n",
        b"10 path=x\n" + b"\x00",
    ],
)
def test_a6_a_malformed_pax_record_is_refused_not_skipped(build: Build, data: bytes) -> None:
    refused(build, archive(extended(data) + file(b"a")), match="PAX")


@pytest.mark.parametrize("keyword", [b"path", b"linkpath", b"size", b"mtime", b"uid", b"gid", b"hdrcharset"])
def test_a6_an_empty_or_repeated_pax_value_is_refused(build: Build, keyword: bytes) -> None:
    refused(build, archive(extended(record(keyword, b"")) + file(b"a")), match="empty")
    value = b"BINARY" if keyword == b"hdrcharset" else b"1"
    refused(build, archive(extended(record(keyword, value) * 2) + file(b"a")), match="twice")


@pytest.mark.parametrize(
    "records",
    [{"size": b"-1"}, {"size": b"1 "}, {"uid": b"1.5"}, {"gid": b"0x1"}, {"mtime": b"1e9"}, {"mtime": b"--1"},
     {"mtime": b"nan"}, {"mtime": b"."}, {"size": b"9" * 30}, {"uid": b"4294967295"}, {"mtime": b"9" * 19},
     {"hdrcharset": b"KOI8-R"}],
)  # fmt: skip
def test_a6_a_pax_value_that_is_no_number_in_range_is_refused(build: Build, records: dict[str, bytes]) -> None:
    refused(build, archive(pax(**records) + file(b"a")), match="PAX|range|64 bits")


@pytest.mark.parametrize("keyword", [b"path", b"linkpath", b"size", b"SCHILY.xattr.user.a", b"GNU.sparse.major"])
def test_a6_a_global_header_that_renames_or_resizes_is_refused(build: Build, keyword: bytes) -> None:
    refused(build, archive(extended(record(keyword, b"1"), b"g") + file(b"a")), match="global")


def test_a6_a_global_comment_is_passed_over(build: Build) -> None:
    """`git archive` begins with one."""
    assert set(build(archive(extended(record(b"comment", b"c" * 40), b"g") + file(b"a"))).tree()) == {b".", b"a"}


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6"])
def test_a6_data_of_what_is_not_a_file_is_refused(build: Build, kind: bytes) -> None:
    member = header(b"b", kind, 512, linkname=b"a", major=1) + file(b"smuggled")
    refused(build, archive(file(b"a"), member), match="with data")


@pytest.mark.parametrize("kind", [b"D", b"M", b"N", b"V", b"X", b"A", b"Z", b"8"])
def test_a6_a_member_type_of_another_world_is_refused(build: Build, kind: bytes) -> None:
    refused(build, archive(header(b"a", kind)), match="member type")


def test_a6_a_wrong_checksum_is_refused(build: Build) -> None:
    block = bytearray(header(b"a"))
    block[0] ^= 1
    refused(build, bytes(block) + bytes(1024), match="checksum")


def test_a6_an_unknown_magic_is_refused(build: Build) -> None:
    refused(build, archive(header(b"a", magic=b"ustax\x0000")), match="magic")


def test_a6_a_lone_zero_block_is_refused(build: Build) -> None:
    refused(build, file(b"a") + bytes(512) + archive(file(b"b")), match="lone zero block")


@pytest.mark.parametrize("blocks", [0, 512, 1024, 700, 10240])
def test_a6_an_archive_may_lack_some_or_all_of_its_end(build: Build, blocks: int) -> None:
    assert set(build(file(b"a") + bytes(blocks)).tree()) == {b".", b"a"}


def test_a6_what_stands_behind_the_end_is_no_member(build: Build) -> None:
    assert set(build(archive(file(b"a")) + archive(file(b"b"))).tree()) == {b".", b"a"}


@pytest.mark.parametrize("keep", [1, 511, 513, 600, 1023])
def test_a6_a_truncated_archive_is_refused(build: Build, keep: int) -> None:
    refused(build, file(b"a", b"x" * 600)[:keep], match="truncated")


def test_a6_a_truncated_extended_header_is_refused(build: Build) -> None:
    refused(build, pax(path=b"x" * 600)[:800], match="truncated")


def test_a6_a_file_with_a_trailing_slash_is_refused_where_readers_differ(build: Build) -> None:
    refused(build, archive(file(b"a/")), match="slash")
    refused(build, archive(pax(path=b"a/") + header(b"a", b"\x00")), match="slash")
    assert stat.S_ISDIR(build(archive(header(b"a/", b"\x00"))).tree()[b"a"].mode)


@pytest.mark.parametrize(
    "records",
    [
        sparse_records(b"0,1", 9),
        sparse_records(b"0,512,100,10", 2000),
        sparse_records(b"600,256,0,256", 2000),
        sparse_records(b"0,512", 100),
        sparse_records(b"0,512,7", 1000),
        sparse_records(b"0,-512", 1000),
        sparse_records(b"0,512", b""),
        sparse_records(b"0,512", b"-1"),
        {**sparse_records(b"0,512", 1000), "GNU.sparse.numblocks": b"2"},
        {"GNU.sparse.map": b"0,512", "GNU.sparse.size": b"1000"},
        {"GNU.sparse.offset": b"0", "GNU.sparse.size": b"1000"},
        {"GNU.sparse.major": b"2", "GNU.sparse.minor": b"0", "GNU.sparse.realsize": b"9"},
        {"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.realsize": b"9"},
        {**sparse_records(b"0,512", 512), "GNU.sparse.name": b"a", "path": b"b"},
        {**sparse_records(b"0,512", 512), "GNU.sparse.name": b"../a"},
    ],
)
def test_a6_a_sparse_map_that_does_not_add_up_is_refused(build: Build, records: dict[str, bytes]) -> None:
    refused(build, archive(pax(**records) + file(b"s", b"x" * 512)), match="sparse|name")


@pytest.mark.parametrize("lines", [b"1\n0\n", b"x\n", b"1\n0\n513\n", b"999999999\n", b"1" * 512, b"1\n-1\n1\n"])
def test_a6_a_sparse_map_in_the_data_that_does_not_add_up_is_refused(build: Build, lines: bytes) -> None:
    records = {"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.realsize": b"4096"}
    refused(build, archive(pax(**records) + file(b"s", padded(lines) + b"x" * 512)), match="sparse")


# A8: special files and attributes


def test_a8_devices_and_set_uid_and_capabilities_stay_as_data(build: Build) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    layer = archive(
        header(b"mem", b"3", mode=0o666, major=1, minor=1),
        header(b"disk", b"4", mode=0o666, major=8, minor=0),
        extended(record(b"SCHILY.xattr.security.capability", capability)) + header(b"ping", mode=0o6755),
    )
    tree = build(layer).tree()
    assert tree[b"ping"].xattrs == {b"security.capability": capability} and tree[b"ping"].mode & 0o7777 == 0o6755
    assert stat.S_ISCHR(tree[b"mem"].mode) and stat.S_ISBLK(tree[b"disk"].mode)


def test_a8_xattrs_that_would_steer_the_guests_overlay_are_dropped(build: Build) -> None:
    names = [b"trusted.overlay.redirect", b"trusted.overlay.opaque", b"user.overlay.metacopy", b"trusted.keep"]
    records = b"".join(record(b"SCHILY.xattr." + name, b"y") for name in names)
    assert build(archive(extended(records) + directory(b"d"))).tree()[b"d"].xattrs == {b"trusted.keep": b"y"}


def test_a8_xattrs_outside_the_kernels_name_spaces_are_dropped(build: Build) -> None:
    records = b"".join(
        record(b"SCHILY.xattr." + name, b"y") for name in (b"com.apple.x", b"system.nfs4_acl", b"user", b"user.a")
    )
    assert build(archive(extended(records) + file(b"f"))).tree()[b"f"].xattrs == {b"user.a": b"y"}


def test_a8_a_character_device_that_overlayfs_takes_for_a_whiteout_is_refused(build: Build) -> None:
    refused(build, archive(header(b"w", b"3")), match="whiteout to overlayfs")


def test_a8_a_device_number_beyond_the_kernels_is_refused(build: Build) -> None:
    refused(build, archive(header(b"w", b"4", major=4096)), match="device number")


def test_a8_xattrs_longer_than_the_kernel_takes_are_refused(build: Build) -> None:
    for name, value in ((b"user." + b"n" * 251, b""), (b"user.a", b"v" * 65536)):
        refused(build, archive(extended(record(b"SCHILY.xattr." + name, value)) + file(b"f")), match="xattr")


def test_a8_one_xattr_with_two_values_is_refused(build: Build) -> None:
    records = record(b"SCHILY.xattr.user.a", b"1") + record(b"LIBARCHIVE.xattr.user.a", b"Mg==")
    refused(build, archive(extended(records) + file(b"f")), match="two values")


# A9: bombs

MIB = 1 << 20
TIGHT = Limits(ratio=10, ratio_floor=MIB, layer_bytes=8 * MIB)


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress, lzma.compress, bz2.compress])
def test_a9_a_compression_bomb_is_stopped_by_its_ratio(build: Build, compress: object) -> None:
    bomb = compress(archive(file(b"zeros", bytes(4 * MIB))))  # type: ignore[operator]
    refused(build, bomb, match="times its compressed size", limits=TIGHT)


def test_a9_a_layer_is_stopped_by_its_size(build: Build) -> None:
    refused(build, archive(file(b"a", bytes(9 * MIB))), match="when uncompressed", limits=TIGHT)


def test_a9_a_blob_of_many_gzip_members_is_read_and_bounded(build: Build) -> None:
    data = archive(file(b"a", b"x" * 3000))
    members = b"".join(gzip.compress(data[i : i + 7]) for i in range(0, len(data), 7))
    assert build(members).read(b"a") == b"x" * 3000
    refused(build, gzip.compress(data) + gzip.compress(b"") * 99, match="compressed members", limits=Limits(frames=99))


def checked_zstd(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: True})


@pytest.mark.parametrize("damage", ["cut", "garbage", "bits"])
@pytest.mark.parametrize("compress", [gzip.compress, checked_zstd, lzma.compress, bz2.compress])
def test_a9_a_corrupt_blob_is_refused(build: Build, compress: object, damage: str) -> None:
    blob = compress(archive(file(b"a", bytes(range(256)) * 40)))  # type: ignore[operator]
    match damage:
        case "cut":
            blob = blob[:-5]
        case "garbage":
            blob += b"garbage behind it"
        case "bits":
            blob = blob[:60] + bytes(byte ^ 0x55 for byte in blob[60:90]) + blob[90:]
    with pytest.raises(MalformedArchive):
        build(blob)


def test_a9_too_many_files_are_refused(build: Build) -> None:
    layer = archive(*(file(b"%d" % i) for i in range(50)))
    refused(build, layer, match="more than 50 files", limits=Limits(inodes=50))


def test_a9_too_many_members_are_refused_even_if_they_replace_each_other(build: Build) -> None:
    refused(build, archive(*[file(b"a")] * 51), match="more than 50 members", limits=Limits(members=50))


def test_a9_names_links_and_xattrs_are_held_in_memory_and_bounded(build: Build) -> None:
    limits = Limits(metadata_bytes=64 << 10)
    long_links = (pax(linkpath=b"t" * 4000) + symlink(b"l%d" % i, b"") for i in range(20))
    refused(build, archive(*long_links), match="bytes of names", limits=limits)
    xattrs = (extended(record(b"SCHILY.xattr.user.a", b"%d" % i * 4000)) + file(b"f%d" % i) for i in range(20))
    refused(build, archive(*xattrs), match="bytes of names", limits=limits)
    records = b"".join(record(b"SCHILY.xattr.user.%d" % i, b"v" * 1000) for i in range(70))
    refused(build, archive(extended(records) + file(b"f")), match="bytes of xattrs")


def test_a9_directories_too_deep_are_refused(build: Build) -> None:
    deep = b"/".join([b"d"] * 40)
    assert deep in build(archive(directory(deep)), limits=Limits(depth=40)).tree()
    refused(build, archive(directory(deep + b"/d")), match="40 directories deep", limits=Limits(depth=40))


def test_a9_the_deepest_tree_that_a_name_can_say_is_refused(build: Build) -> None:
    refused(build, archive(pax(path=b"d/" * 2000) + directory(b"d")), match="directories deep")
    refused(build, archive(pax(path=b"d/" * 100_000) + directory(b"d")), match="4096 bytes")


def test_a9_an_extended_header_of_more_than_a_mebibyte_is_refused(build: Build) -> None:
    refused(build, archive(header(b"x", b"x", 2 * MIB) + bytes(2 * MIB) + file(b"a")), match="1 MiB")
    refused(build, header(b"x", b"L", base256(1 << 60, 12)), match="1 MiB")


def test_a9_a_sparse_file_of_8_eib_is_refused(build: Build) -> None:
    refused(build, archive(sparse_file(b"s", b"0,512", (1 << 63) - 1, b"x" * 512)), match="a file of more than")


def test_a9_sparse_files_count_in_the_images_size(build: Build) -> None:
    members = [sparse_file(b"%d" % i, b"1048576,512", 1 << 30, b"x" * 512) for i in range(100)]
    refused(build, archive(*members), match="would be larger", limits=Limits(image_bytes=MIB))
    refused(build, archive(*members), match="bytes of names", limits=Limits(metadata_bytes=MIB))


def test_a9_too_many_layers_are_refused(build: Build) -> None:
    refused(build, *[archive()] * 4, match="3 layers", limits=Limits(layers=3))


def test_a9_limits_are_told_apart_from_malformed_archives(build: Build) -> None:
    error = refused(build, archive(file(b"a"), file(b"b")), match="files", limits=Limits(inodes=2))
    assert isinstance(error, LimitExceeded) and "limit" in error.hint


def test_a_layer_that_is_not_the_one_named_is_refused(build: Build) -> None:
    with pytest.raises(LayerError, match="not a SHA-256 diff id"):
        chain_id(["sha512:" + "0" * 64])
