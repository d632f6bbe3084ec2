# SPDX-License-Identifier: Apache-2.0
"""Volumes, directories of the host and tmpfs in all of docker's spellings: `Binds`, `Mounts`, `Tmpfs`, `VolumesFrom`
and `Volumes`."""

from __future__ import annotations

import posixpath
from typing import Any

from hypercell.api.docker.documents import Fields
from hypercell.base.errors import InvalidArgument, Unsupported
from hypercell.cloud.contract import BindRequest, MountRequest, VolumesFrom

Json = dict[str, Any]
_KINDS_OF_MODES = (
    ("rw", "ro"),
    ("z", "Z"),
    ("nocopy",),
    ("consistent", "cached", "delegated"),
    ("private", "rprivate", "shared", "rshared", "slave", "rslave"),
)
"""Of each kind a mode has one word at most."""
_PRIVATE = ("", "private", "rprivate")
"""Ways in which mounts may be propagated: a VM has mounts of its own, and hears of no others."""
_UNBUILT_TYPES = ("cluster", "image", "npipe")
_RELABEL = "z"
"""What docker shows as the mode of a volume for which none was given."""


def parse_host_mounts(fields: Fields, echo: Json) -> Json:
    """Members of a `ContainerRequest`; what only an inspection shows goes to *echo*."""
    tmpfs = {target(path): options for path, options in fields.text_mapping("Tmpfs").items()}
    if tmpfs:
        echo["Tmpfs"] = dict(tmpfs)
    binds, sources = fields.texts("Binds", limit=1000), fields.texts("VolumesFrom", limit=1000)
    if binds:
        echo["Binds"] = list(binds)
    if sources:
        echo["VolumesFrom"] = list(sources)
    mounts = [_bind(spec) for spec in binds or ()]
    for fields_of_one in fields.objects("Mounts"):
        found, shown = _mount(fields_of_one)
        echo.setdefault("Mounts", []).append(shown)
        if isinstance(found, MountRequest | BindRequest):
            mounts.append(found)
            continue
        at, options = found
        if at in tmpfs:
            raise InvalidArgument(f"Duplicate mount point: {at}")
        tmpfs[at] = options
    return {
        "tmpfs": tmpfs,
        "mounts": tuple(mount for mount in mounts if isinstance(mount, MountRequest)),
        "binds": tuple(mount for mount in mounts if isinstance(mount, BindRequest)),
        "volumes_from": tuple(_volumes_from(spec) for spec in sources or ()),
    }


def parse_volumes(fields: Fields) -> tuple[str, ...]:
    """`Volumes`: places for volumes of the container's own."""
    volumes = fields.mapping("Volumes", limit=1000)
    for value in volumes.values():
        if value not in (None, {}):
            raise InvalidArgument(f"{fields.name('Volumes')}: must be an object of empty objects")
    return tuple(target(path) for path in volumes)


def target(path: str) -> str:
    """Where something is mounted, in its normal form."""
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{path[:200]}' mount path must be absolute")
    clean = "/" + posixpath.normpath(path).lstrip("/")
    if clean == "/":
        raise InvalidArgument("invalid specification: destination can't be '/'")
    return clean


def _bind(spec: str) -> MountRequest | BindRequest:
    """Of `Binds`: `/target`, or `name:/target` or `/source:/target`, with `:modes` or without."""
    first, *rest = spec.split(":", 3)
    if not first or len(rest) > 2 or (len(rest) == 1 and (not rest[0] or _is_mode(rest[0]))):
        raise InvalidArgument(f"invalid volume specification: '{spec[:300]}'")
    mode = rest[1] if len(rest) == 2 else ""
    if not rest:
        return MountRequest(_bound(spec, first), mode=_RELABEL)
    if not _is_mode(mode):
        raise InvalidArgument(f"invalid mode: {mode[:100]}")
    words = mode.split(",")
    at = _bound(spec, rest[0])
    if first.startswith("/"):
        for word in words:
            _check_propagation(word if word in _KINDS_OF_MODES[-1] else "")
        if "nocopy" in words:
            raise InvalidArgument(f"invalid mode: {mode[:100]}")
        return BindRequest(at, posixpath.normpath(first), "ro" in words, make=True, mode=mode)
    if any(word in _KINDS_OF_MODES[-1] for word in words):
        raise _misspelt(spec, "field BindOptions must not be specified")
    return MountRequest(at, first, "ro" in words, copy="nocopy" not in words, mode=mode or _RELABEL)


def _bound(spec: str, path: str) -> str:
    try:
        return target(path)
    except InvalidArgument as error:
        raise _misspelt(spec, error.message) from None


def _misspelt(spec: str, words: str) -> InvalidArgument:
    """docker has turned it into one of `Mounts` by then."""
    return InvalidArgument(f"invalid volume specification: '{spec[:300]}': {_wrong('volume', words).message}")


def _is_mode(text: str) -> bool:
    """docker's: known words, of each kind one."""
    kinds = [next((kind for kind in _KINDS_OF_MODES if word in kind), None) for word in text.split(",")] if text else []
    return None not in kinds and len(kinds) == len(set(kinds))


def _volumes_from(spec: str) -> VolumesFrom:
    container, _, mode = spec.partition(":")
    if not container:
        raise InvalidArgument("volumes-from specification cannot be an empty string")
    refused = (*_KINDS_OF_MODES[-1], "nocopy")
    if not _is_mode(mode) or any(word in refused for word in mode.split(",")):
        raise InvalidArgument(f"invalid mode: {mode[:100]}")
    return VolumesFrom(container, mode or "rw")


def _check_propagation(word: str) -> None:
    if word not in _PRIVATE:
        raise Unsupported(f"mount propagation {word[:32]!r}: a VM's mounts are its own", "leave it out")


def _mount(fields: Fields) -> tuple[MountRequest | BindRequest | tuple[str, str], Json]:
    """One of `Mounts`: a volume, what is the host's, or the place and the options of a tmpfs; and as it is shown."""
    kind, source, path = fields.text("Type", limit=32), fields.text("Source"), fields.text("Target")
    read_only, consistency = fields.flag("ReadOnly"), fields.text("Consistency", limit=32)
    if kind in _UNBUILT_TYPES:
        raise Unsupported(f"{fields.name('Type')} {kind!r} is not built yet", "there are bind, volume and tmpfs")
    if kind not in ("bind", "volume", "tmpfs"):
        raise _wrong(kind, "mount type unknown")
    if not path:
        raise _wrong(kind, "field Target must not be empty")
    try:
        clean = target(path)
    except InvalidArgument as error:
        raise _wrong(kind, error.message) from None
    for name in ("ImageOptions", "ClusterOptions", *(() if kind == "bind" else ("BindOptions",))):
        if fields.take(name) not in (None, {}):
            raise _wrong(kind, f"field {name} must not be specified")
    shown: Json = {"Type": kind, "Source": source, "Target": path, "ReadOnly": read_only, "Consistency": consistency}
    found: MountRequest | BindRequest | tuple[str, str]
    if kind == "tmpfs":
        if source:
            raise _wrong(kind, "field Source must not be specified")
        options, shown["TmpfsOptions"] = _tmpfs(fields.object("TmpfsOptions"), read_only)
        found = clean, options
    elif kind == "bind":
        found, shown["BindOptions"] = _host(fields.object("BindOptions"), clean, source, read_only)
    else:
        found, shown["VolumeOptions"] = _volume(fields.object("VolumeOptions"), clean, source, read_only)
    fields.finish()
    return found, _told(shown)


def _host(wishes: Fields | None, path: str, source: str, read_only: bool) -> tuple[BindRequest, Json]:
    if not source:
        raise _wrong("bind", "field Source must not be empty")
    if not source.startswith("/"):
        raise _wrong("bind", f"invalid mount path: '{source[:200]}' mount path must be absolute")
    clean = posixpath.normpath(source)
    if wishes is None:
        return BindRequest(path, clean, read_only), {}
    propagation, make = wishes.text("Propagation", limit=32), wishes.flag("CreateMountpoint")
    _check_propagation(propagation)
    alone = wishes.flag("NonRecursive")
    # Read-only is so with all that is mounted below, which is more than either of them asks for.
    options = {name: wishes.flag(name) for name in ("ReadOnlyNonRecursive", "ReadOnlyForceRecursive")}
    wishes.finish()
    shown = {"Propagation": propagation, "NonRecursive": alone, "CreateMountpoint": make, **options}
    return BindRequest(path, clean, read_only, make, recursive=not alone), _told(shown)


def _volume(wishes: Fields | None, path: str, name: str, read_only: bool) -> tuple[MountRequest, Json]:
    if read_only and not name:
        raise _wrong("volume", "must not set ReadOnly mode when using anonymous volumes")
    if wishes is None:
        return MountRequest(path, name, read_only, mode=_RELABEL), {}
    no_copy, labels, subpath = wishes.flag("NoCopy"), wishes.text_mapping("Labels"), wishes.text("Subpath")
    driver = wishes.object("DriverConfig") or Fields({}, wishes.name("DriverConfig"))
    driver_name, options = driver.text("Name"), driver.text_mapping("Options")
    driver.finish()
    wishes.finish()
    if driver_name not in ("", "local"):
        raise Unsupported(f"{wishes.name('DriverConfig')} {driver_name[:100]!r} is not built yet", "there is: local")
    if subpath and not name:
        raise _wrong("volume", "must not set Subpath when using anonymous volumes")
    if subpath.startswith("/") or ".." in posixpath.normpath(subpath).split("/"):
        raise _wrong("volume", "subpath must be a relative path within the volume")
    inside = posixpath.normpath(subpath) if subpath else ""
    shown = {
        "NoCopy": no_copy,
        "Labels": labels,
        "DriverConfig": _told({"Name": driver_name, "Options": options}),
        "Subpath": subpath,
    }
    request = MountRequest(
        *(path, name, read_only, not no_copy, "" if inside == "." else inside, _RELABEL), labels=labels, options=options
    )
    return request, _told(shown)


def _tmpfs(wishes: Fields | None, read_only: bool) -> tuple[str, Json]:
    options = ["ro"] if read_only else []
    if wishes is None:
        return ",".join(options), {}
    size, mode = wishes.number("SizeBytes", low=0), wishes.number("Mode", low=0, high=0o7777)
    options += [f"size={size}"] if size else []
    options += [f"mode={mode:o}"] if mode else []
    flags = _tmpfs_flags(wishes)
    wishes.finish()
    shown = {"SizeBytes": size, "Mode": mode, "Options": [flag.split("=", 1) for flag in flags]}
    return ",".join([*options, *flags]), _told(shown)


def _tmpfs_flags(wishes: Fields) -> list[str]:
    flags = []
    for item in wishes.items("Options", limit=32):
        if not isinstance(item, list) or not 1 <= len(item) <= 2 or not all(isinstance(word, str) for word in item):
            raise InvalidArgument(f"{wishes.name('Options')}: must be a list of [name] or [name, value]")
        flags.append("=".join(item))
    return flags


def _told(members: Json) -> Json:
    """Without what says nothing, as Go's encoder leaves it out."""
    return {name: value for name, value in members.items() if value not in ("", 0, False, [], {}, None)}


def _wrong(kind: str, words: str) -> InvalidArgument:
    return InvalidArgument(f'invalid mount config for type "{kind}": {words}')
