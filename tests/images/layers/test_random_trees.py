# SPDX-License-Identifier: Apache-2.0
"""Random layers, packed by tarfile, give the image that a model of image-spec `layer.md` predicts."""

from __future__ import annotations

import tarfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.images.layers.conftest import Build
from tests.images.layers.tarballs import by_tarfile

NAMES = st.sampled_from(["a", "b", "c", "-", "ü", "n" * 120])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
XATTRS = st.dictionaries(
    st.sampled_from(["user.a", "user.b", "trusted.c", "security.d"]), st.text("xyz=\n", max_size=9), max_size=2
)
ATTRIBUTES = st.tuples(
    st.integers(0, 0o7777),
    st.sampled_from([0, 1, 70_000, 4_294_967_294]),
    st.sampled_from([0.0, 1.5, 1_700_000_000.25, -3.0]),
    XATTRS,
)
CONTENTS = st.tuples(st.sampled_from([0, 1, 600, 2048, 2049, 4096, 10_000, 70_000]), st.integers(0, 255))
ENTRIES = st.one_of(
    st.tuples(st.just("file"), PATHS, ATTRIBUTES, CONTENTS),
    st.tuples(st.just("directory"), PATHS, ATTRIBUTES, st.none()),
    st.tuples(st.just("symlink"), PATHS, ATTRIBUTES, st.text("abc/.", min_size=1, max_size=200)),
    st.tuples(st.just("whiteout"), PATHS, st.none(), st.none()),
    st.tuples(st.just("opaque"), PATHS, st.none(), st.none()),
)
MARKERS = ("whiteout", "opaque")
LAYER = st.lists(ENTRIES, max_size=8, unique_by=lambda entry: (entry[0] if entry[0] in MARKERS else "", entry[1]))
LAYERS = st.lists(LAYER, min_size=1, max_size=4)

Entry = tuple[str, str, tuple[int, int, float, dict[str, str]], object]
Model = dict[str, Entry]
IMPLIED = ("directory", "", (0o755, 0, 0.0, {}), None)


def above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


def consistent(entries: list[Entry]) -> list[Entry]:
    """Leave out what a layer cannot hold: members below its own files."""
    solid = {path for kind, path, *_ in entries if kind in ("file", "symlink")}
    return [entry for entry in entries if entry[0] in MARKERS or not solid.intersection(above(entry[1]))]


def apply(model: Model, layer: list[Entry]) -> Model:
    """layer.md in three steps: hide, then add, then imply."""
    hidden = [path for kind, path, *_ in layer if kind == "whiteout"]
    opaque = [path for kind, path, *_ in layer if kind == "opaque"]
    members = [entry for entry in layer if entry[0] in ("file", "directory", "symlink")]
    lower = {
        path: entry
        for path, entry in model.items()
        if not any(path == h or path.startswith(h + "/") for h in hidden)
        and not any(path.startswith(o + "/") for o in opaque)
    }
    for kind, path, *_ in members:
        solid = [p for p in above(path) if p in lower and lower[p][0] != "directory"]
        if kind != "directory" or (path in lower and lower[path][0] != "directory"):
            solid.append(path)
        for gone in solid:
            lower = {p: e for p, e in lower.items() if p != gone and not p.startswith(gone + "/")}
    merged = lower | {entry[1]: entry for entry in members}
    for _, path, *_ in members:
        for parent in above(path):
            merged.setdefault(parent, IMPLIED)
    return merged


def pack(layer: list[Entry]) -> bytes:
    packed = []
    for kind, path, attributes, body in layer:
        info, data = tarfile.TarInfo(path), b""
        if kind == "whiteout":
            head, slash, name = path.rpartition("/")
            info.name = f"{head}{slash}.wh.{name}"
        elif kind == "opaque":
            info.name = path + "/.wh..wh..opq"
        else:
            info.mode, info.uid, info.mtime, xattrs = attributes
            info.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in xattrs.items()}
            if kind == "file":
                size, byte = body  # type: ignore[misc]
                data = bytes([byte]) * size
                info.size = size
            elif kind == "directory":
                info.type = tarfile.DIRTYPE
            else:
                info.type, info.linkname = tarfile.SYMTYPE, str(body)
        packed.append((info, data))
    return by_tarfile(packed)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(LAYERS)
def test_random_layers_merge_as_the_model_says(build: Build, tmp_path: Path, layers: list[list[Entry]]) -> None:
    layers = [consistent(layer) for layer in layers]
    model: Model = {}
    for layer in layers:
        model = apply(model, layer)
    image = build(*map(pack, layers))
    tree = image.tree()
    assert set(tree) - {b"."} == {path.encode() for path in model}
    for path, (kind, _, (mode, uid, mtime, xattrs), body) in model.items():
        file = tree[path.encode()]
        assert file.mode == {"file": 0o100000 | mode, "directory": 0o040000 | mode, "symlink": 0o120777}[kind]
        assert (file.uid, file.mtime_ns) == (uid, int(mtime * 4) * 250_000_000)
        assert file.xattrs == {key.encode(): value.encode() for key, value in xattrs.items()}
        if kind == "file":
            size, byte = body  # type: ignore[misc]
            assert image.content(file) == bytes([byte]) * size
        elif kind == "symlink":
            assert image.content(file) == str(body).encode()
