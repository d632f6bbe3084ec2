# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercell.base.errors import InvalidArgument
from hypercell.images import documents, manifest, platforms
from hypercell.images.manifest import Index, Manifest
from hypercell.images.platforms import Platform
from tests.support.images import DOCKER, OCI, Image, compact, sha256, tar
from tests.support.images import Index as BuiltIndex

IMAGE = Image([tar({"a": b"1"}), tar({"b": b"2"})])
INDEX = BuiltIndex([IMAGE, Image([tar({"c": b"3"})], architecture="arm64")])


def edited(data: bytes, **changes: Any) -> bytes:
    return compact({**json.loads(data), **changes})


@pytest.mark.parametrize("docker", [False, True])
def test_all_four_media_types_are_understood(docker: bool) -> None:
    image = Image([tar({"a": b"1"})], docker=docker)
    index = BuiltIndex([image], docker=docker)
    found = manifest.parse(image.manifest, image.media_type)
    assert isinstance(found, Manifest)
    assert found.config.digest == image.id
    assert found.digest == sha256(image.manifest)
    listed = manifest.parse(index.manifest, index.media_type)
    assert isinstance(listed, Index)
    assert listed.manifests[0].digest == found.digest


@pytest.mark.parametrize("told", ["", "text/plain", "application/json", "application/octet-stream; charset=x"])
def test_content_decides_where_the_media_type_says_nothing(told: str) -> None:
    data = edited(IMAGE.manifest, mediaType=None)
    assert manifest.parse(data, told).media_type == manifest.OCI_MANIFEST


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (IMAGE.manifest, INDEX.media_type),
        (INDEX.manifest, IMAGE.media_type),
        (edited(IMAGE.manifest, mediaType=None), INDEX.media_type),
        (edited(INDEX.manifest, mediaType=None), IMAGE.media_type),
        (edited(IMAGE.manifest, mediaType=INDEX.media_type), ""),
        (edited(IMAGE.manifest, manifests=[]), IMAGE.media_type),
        (edited(INDEX.manifest, layers=[]), INDEX.media_type),
        (edited(INDEX.manifest, config={}), INDEX.media_type),
        (edited(IMAGE.manifest, mediaType=f"{DOCKER}.distribution.manifest.v2+json"), IMAGE.media_type),
    ],
)
def test_what_could_be_both_a_manifest_and_an_index_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(InvalidArgument):
        manifest.parse(data, told)


@pytest.mark.parametrize(
    "data",
    [
        compact({"schemaVersion": 1, "name": "x", "fsLayers": [], "history": []}),
        edited(IMAGE.manifest, fsLayers=[]),
        edited(IMAGE.manifest, mediaType=f"{DOCKER}.distribution.manifest.v1+prettyjws"),
    ],
)
def test_schema_1_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="schema 1"):
        manifest.parse(data)


def _with_layer(**changes: Any) -> bytes:
    values = json.loads(IMAGE.manifest)
    values["layers"][0].update(changes)
    return compact(values)


@pytest.mark.parametrize(
    "data",
    [
        _with_layer(size=-1),
        _with_layer(size=2**63),
        _with_layer(size=True),
        _with_layer(size=1.0),
        _with_layer(size="1"),
        _with_layer(digest="sha256:../../etc/passwd"),
        _with_layer(digest="sha512:" + "0" * 128),
        _with_layer(digest=7),
        _with_layer(mediaType="application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
        _with_layer(mediaType=f"{OCI}.layer.v1.tar+encrypted"),
        _with_layer(urls="https://x"),
        edited(IMAGE.manifest, layers={}),
        edited(IMAGE.manifest, layers=[1]),
        edited(IMAGE.manifest, layers=json.loads(IMAGE.manifest)["layers"] * 65),
        edited(IMAGE.manifest, config=None),
        edited(IMAGE.manifest, config="x"),
        edited(IMAGE.manifest, schemaVersion="2"),
        edited(IMAGE.manifest, schemaVersion=3),
        edited(IMAGE.manifest, config={"mediaType": "application/x", "digest": IMAGE.id, "size": 1}),
        b"[]",
        b"null",
        b"",
        b"\xff\xfe",
        b'{"schemaVersion":2,"schemaVersion":2}',
        b'{"a":NaN}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"a":"\\ud800"}',
    ],
)
def test_a_malformed_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        manifest.parse(data, IMAGE.media_type)


def test_a_document_above_4_mib_is_not_even_parsed() -> None:
    with pytest.raises(InvalidArgument, match="larger"):
        manifest.parse(b" " * (documents.MAX_DOCUMENT + 1) + IMAGE.manifest)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(json.loads(IMAGE.manifest))), json_values)
def test_no_value_in_any_place_makes_a_manifest_fail_unexpectedly(key: str, value: Any) -> None:
    with contextlib.suppress(InvalidArgument):
        manifest.parse(json.dumps({**json.loads(IMAGE.manifest), key: value}).encode(), "")


@given(st.sampled_from(["mediaType", "digest", "size", "urls", "platform", "annotations"]), json_values)
def test_no_value_in_a_descriptor_makes_an_index_fail_unexpectedly(key: str, value: Any) -> None:
    values = json.loads(INDEX.manifest)
    values["manifests"][0][key] = value
    with contextlib.suppress(InvalidArgument):
        manifest.parse(json.dumps(values).encode(), "")


@pytest.mark.parametrize(
    ("wanted", "offered", "chosen"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"),
        ("amd64", ["linux/x86_64"], "linux/amd64"),
        ("linux/arm64/v8", ["linux/arm64"], "linux/arm64"),
        ("linux/arm64", ["linux/arm64/v8", "linux/amd64"], "linux/arm64"),
        ("linux/arm", ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], "linux/arm/v6"),
        ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5"], "linux/arm/v5"),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2"], "linux/amd64/v2"),
        ("linux/amd64", ["linux/amd64/v3"], None),
        ("linux/amd64", ["windows/amd64"], None),
        ("linux/riscv64", ["linux/amd64", "unknown/unknown"], None),
        ("linux/arm/v²", ["linux/arm/v5"], None),
    ],
)
def test_an_index_gives_the_best_platform_that_can_run(wanted: str, offered: list[str], chosen: str | None) -> None:
    entries = [platforms.normalise(*entry.split("/")) for entry in offered]
    target = platforms.normalise(*wanted.split("/")) if "/" in wanted else platforms.parse(wanted)
    position = platforms.choose(target, entries)
    assert (None if position is None else str(entries[position])) == chosen


@pytest.mark.parametrize("text", ["linux/", "/amd64", "a/b/c/d", "linux/amd 64", "linux/\n", "linux/٣"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        platforms.parse(text)


@pytest.mark.parametrize(
    ("wanted", "has", "serves"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/arm64", False),
        ("linux/amd64", "linux/386", True),
        ("linux/386", "linux/amd64", False),
        ("linux/amd64/v2", "linux/amd64", True),
        ("linux/amd64", "linux/amd64/v3", False),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64", "linux/arm/v7", True),
        ("linux/arm/v6", "linux/arm", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm/v7", "linux/arm/v6", True),
        ("windows/amd64", "linux/amd64", False),
    ],
)
def test_an_image_serves_whatever_runs_what_it_has(wanted: str, has: str, serves: bool) -> None:
    def written(text: str) -> Platform:
        return Platform(*text.split("/"))

    assert platforms.serves(written(wanted), written(has)) is serves
