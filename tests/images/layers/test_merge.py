# SPDX-License-Identifier: Apache-2.0
"""Layers add up as image-spec `layer.md` says."""

from __future__ import annotations

import stat

import pytest

from hypercell.images.layers import MalformedArchive
from tests.images.layers.conftest import Build
from tests.images.layers.tarballs import archive, directory, file, header, link, pax, symlink


def paths(image: object) -> set[bytes]:
    return set(image.tree()) - {b"."}  # type: ignore[attr-defined]


def test_an_image_without_layers_is_an_empty_root(build: Build) -> None:
    tree = build().tree()
    assert list(tree) == [b"."] and tree[b"."].mode == stat.S_IFDIR | 0o755


def test_a_higher_layer_replaces_a_file(build: Build) -> None:
    image = build(archive(file(b"a", b"old")), archive(file(b"a", b"new", mode=0o600)))
    assert image.read(b"a") == b"new"
    assert image.tree()[b"a"].mode & 0o7777 == 0o600


def test_a_higher_layer_changes_a_directory_and_keeps_what_is_in_it(build: Build) -> None:
    image = build(archive(directory(b"d"), file(b"d/a")), archive(directory(b"d", 0o700)))
    assert paths(image) == {b"d", b"d/a"}
    assert image.tree()[b"d"].mode & 0o7777 == 0o700


def test_a_directory_that_is_only_walked_through_keeps_its_attributes(build: Build) -> None:
    image = build(archive(directory(b"d", 0o2770)), archive(file(b"d/a")))
    assert image.tree()[b"d"].mode & 0o7777 == 0o2770


def test_a_missing_parent_is_made_0755_root(build: Build) -> None:
    tree = build(archive(file(b"a/b/c"))).tree()
    assert set(tree) == {b".", b"a", b"a/b", b"a/b/c"}
    assert all((tree[p].mode, tree[p].uid, tree[p].gid) == (stat.S_IFDIR | 0o755, 0, 0) for p in (b"a", b"a/b"))


def test_the_root_takes_the_attributes_of_its_member(build: Build) -> None:
    root = build(archive(header(b"./", b"5", mode=0o711, uid=7, mtime=99))).tree()[b"."]
    assert (root.mode & 0o7777, root.uid, root.mtime_ns) == (0o711, 7, 99 * 10**9)


def test_a_file_replaces_a_directory_and_all_below_it(build: Build) -> None:
    assert paths(build(archive(file(b"d/e/f")), archive(file(b"d")))) == {b"d"}


def test_a_directory_replaces_a_file(build: Build) -> None:
    assert paths(build(archive(file(b"d")), archive(directory(b"d"), file(b"d/a")))) == {b"d", b"d/a"}


def test_a_directory_replaces_a_symlink_and_does_not_follow_it(build: Build) -> None:
    image = build(archive(directory(b"real"), symlink(b"d", b"real")), archive(directory(b"d"), file(b"d/a")))
    assert paths(image) == {b"real", b"d", b"d/a"}


def test_of_several_members_with_one_name_the_last_wins(build: Build) -> None:
    """GNU tar appends a newer version of a file so, and every unpacker lets the later one replace the earlier."""
    assert build(archive(file(b"a", b"1"), file(b"b"), file(b"a", b"22"))).read(b"a") == b"22"


def test_a_whiteout_hides_a_lower_file_and_is_not_seen(build: Build) -> None:
    assert paths(build(archive(file(b"d/a"), file(b"d/b")), archive(file(b"d/.wh.a")))) == {b"d", b"d/b"}


def test_a_whiteout_hides_a_lower_directory_with_all_in_it(build: Build) -> None:
    assert paths(build(archive(file(b"d/e/f")), archive(file(b".wh.d")))) == set()


def test_a_whiteout_of_what_is_not_there_hides_nothing(build: Build) -> None:
    assert paths(build(archive(file(b"a")), archive(file(b"x/y/.wh.z"), file(b"a/.wh.b")))) == {b"a"}


@pytest.mark.parametrize("late", [False, True])
def test_a_whiteout_spares_its_own_layer_whatever_the_order(build: Build, late: bool) -> None:
    members = [file(b".wh.d"), directory(b"d", 0o700), file(b"d/new")]
    image = build(archive(file(b"d/old")), archive(*(reversed(members) if late else members)))
    assert paths(image) == {b"d", b"d/new"}
    assert image.tree()[b"d"].mode & 0o7777 == 0o700


@pytest.mark.parametrize("late", [False, True])
def test_a_directory_implied_beside_its_whiteout_is_a_new_one_whatever_the_order(build: Build, late: bool) -> None:
    members = [file(b".wh.d"), file(b"d/new")]
    image = build(archive(directory(b"d", 0o700), file(b"d/old")), archive(*(reversed(members) if late else members)))
    assert paths(image) == {b"d", b"d/new"}
    assert image.tree()[b"d"].mode & 0o7777 == 0o755


@pytest.mark.parametrize("late", [False, True])
def test_an_opaque_directory_hides_all_lower_content_whatever_the_order(build: Build, late: bool) -> None:
    members = [file(b"d/.wh..wh..opq"), file(b"d/sub/new"), file(b"d/new")]
    lower = archive(directory(b"d", 0o700), file(b"d/old"), file(b"d/sub/old"), file(b"keep"))
    image = build(lower, archive(*(reversed(members) if late else members)))
    assert paths(image) == {b"d", b"d/new", b"d/sub", b"d/sub/new", b"keep"}
    assert image.tree()[b"d"].mode & 0o7777 == 0o700


def test_an_opaque_root_starts_anew(build: Build) -> None:
    assert paths(build(archive(file(b"a/b")), archive(file(b".wh..wh..opq"), file(b"c")))) == {b"c"}


def test_a_whiteout_applies_to_the_layers_below_it_alone(build: Build) -> None:
    assert paths(build(archive(file(b"a")), archive(file(b".wh.a")), archive(file(b"a")))) == {b"a"}


def test_aufs_bookkeeping_is_passed_over(build: Build) -> None:
    layer = archive(file(b".wh..wh.aufs"), directory(b".wh..wh.plnk"), file(b".wh..wh.plnk/1.2"), file(b"a"))
    assert paths(build(layer)) == {b"a"}


@pytest.mark.parametrize("name", [b".wh.", b"d/.wh..", b".wh...", b".wh.d/a"])
def test_a_whiteout_that_names_nothing_is_refused(build: Build, name: bytes) -> None:
    with pytest.raises(MalformedArchive):
        build(archive(file(b"d/a")), archive(file(name)))


def test_a_whiteout_with_content_is_refused(build: Build) -> None:
    for member in (file(b".wh.a", b"x"), directory(b".wh.a"), symlink(b".wh.a", b"b")):
        with pytest.raises(MalformedArchive):
            build(archive(member))


def test_hard_links_are_one_file(build: Build) -> None:
    tree = build(archive(file(b"a", b"x"), link(b"b", b"./a"), link(b"d/c", b"/b"))).tree()
    assert tree[b"a"].nid == tree[b"b"].nid == tree[b"d/c"].nid and tree[b"a"].links == 3


def test_a_hard_link_reaches_into_a_lower_layer(build: Build) -> None:
    tree = build(archive(file(b"a", b"x")), archive(link(b"b", b"a"))).tree()
    assert tree[b"a"].nid == tree[b"b"].nid and tree[b"a"].links == 2


def test_a_hard_link_keeps_the_file_when_its_first_name_is_replaced_or_hidden(build: Build) -> None:
    lower = archive(file(b"a", b"x"), link(b"b", b"a"), link(b"c", b"a"))
    image = build(lower, archive(file(b"a", b"new"), file(b".wh.c")))
    assert image.read(b"b") == b"x" and image.tree()[b"b"].links == 1 and image.read(b"a") == b"new"


def test_a_hard_link_may_replace_the_last_other_name_of_its_target(build: Build) -> None:
    image = build(archive(file(b"a", b"x"), link(b"b", b"a")), archive(link(b"b", b"a")))
    assert image.read(b"b") == b"x" and image.tree()[b"b"].links == 2


def test_a_name_given_to_a_lower_file_is_of_the_layer_that_gave_it(build: Build) -> None:
    image = build(archive(file(b"d/a", b"x")), archive(link(b"d/b", b"d/a"), file(b"d/.wh..wh..opq")))
    assert paths(image) == {b"d", b"d/b"} and image.read(b"d/b") == b"x" and image.tree()[b"d/b"].links == 1


def test_a_hard_link_to_a_symlink_is_that_symlink(build: Build) -> None:
    tree = build(archive(symlink(b"a", b"/etc/passwd"), link(b"b", b"a"))).tree()
    assert tree[b"a"].nid == tree[b"b"].nid and tree[b"b"].kind == stat.S_IFLNK


def test_attributes_of_every_kind_survive(build: Build) -> None:
    image = build(
        archive(
            pax(mtime=b"1.123456789", uid=b"4000000000", SCHILY__xattr__user__k=b"v\x00\n=", size=b"3"),
            header(b"f", b"0", 3, mode=0o4755) + b"abc".ljust(512, b"\x00"),
            header(b"c", b"3", mode=0o620, major=4, minor=300, gid=5),
            header(b"b", b"4", major=259, minor=1),
            header(b"p", b"6", mode=0o600),
            pax(linkpath=b"t" * 3000, mtime=b"-1.5"),
            header(b"l", b"2", linkname=b"t"),
        )
    )
    tree = image.tree()
    f = tree[b"f"]
    assert (f.mode, f.uid, f.mtime_ns, f.xattrs) == (0o104755, 4000000000, 1123456789, {b"user.k": b"v\x00\n="})
    assert tree[b"c"].mode == stat.S_IFCHR | 0o620 and tree[b"c"].rdev == (300 & 0xFF) | 4 << 8 | (300 & ~0xFF) << 12
    assert tree[b"b"].mode == stat.S_IFBLK | 0o644 and tree[b"b"].rdev == 259 << 8 | 1
    assert tree[b"p"].mode == stat.S_IFIFO | 0o600
    assert image.read(b"l") == b"t" * 3000 and tree[b"l"].mtime_ns == -1_500_000_000


def test_the_same_layers_give_the_same_bytes(build: Build) -> None:
    layers = archive(file(b"b", b"x" * 9000), file(b"a", b"y")), archive(file(b".wh.b"), file(b"c", b"z" * 5000))
    first = build(*layers).data
    assert build(*layers).data == first
    assert build(layers[1], layers[0]).data != first
