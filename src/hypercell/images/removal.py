# SPDX-License-Identifier: Apache-2.0
"""docker's rules for removing an image: which names go, what is in the way, and in which words.

An image that a container uses is never deleted, not even by force, because a stopped container must be able to
start again: force takes its names away, and `prune` finds it once the container is gone. One that others were made of
stays as long as these; the nameless images that it was made of go with it.
"""

from __future__ import annotations

from collections.abc import Callable

from hypercell.base.db import Transaction
from hypercell.base.errors import Conflict
from hypercell.base.ids import short
from hypercell.images import lineage, lookup, metadata, reference
from hypercell.images.metadata import Name, Record

Removed = tuple[str, str]
"""("untagged", familiar name) or ("deleted", id or chain id)."""


def family(tx: Transaction, tenant: str, image_id: str) -> list[str]:
    """The images that it was made of, nearest first."""
    found: list[str] = []
    while (image_id := lineage.parent_of(tx, tenant, image_id)) and image_id not in found:
        found.append(image_id)
    return found


def remove(
    tx: Transaction,
    tenant: str,
    text: str,
    force: bool,
    users: dict[str, list[str]],
    runs: Callable[[str], bool] = lambda _: False,
) -> list[Removed]:
    """Carry out a removal. *users* tells the containers of an image id, and which of its family may go with it;
    *runs*, whether a container does.

    Raises `NotFound`, `Conflict`.
    """
    record = lookup.find(tx, tenant, text)
    if record.id not in users:
        raise Conflict(f"the image that {text[:100]} names has just changed", "try again")
    using = users[record.id]
    free = {image_id for image_id, containers in users.items() if not containers}
    if lookup.is_id(record, text):
        return _by_id(tx, tenant, record, force, using, free, next(filter(runs, using), ""))
    return _by_name(tx, tenant, record, text, force, using, free)


def _by_id(
    tx: Transaction, tenant: str, record: Record, force: bool, using: list[str], free: set[str], running: str
) -> list[Removed]:
    if lineage.child_of(tx, tenant, record.id):
        raise _conflict(record, "cannot be forced", "image has dependent child images")
    if not force and not _is_single(record.names):
        raise _conflict(record, "must be forced", "image is referenced in multiple repositories")
    if running:
        raise _conflict(record, "cannot be forced", f"image is being used by running container {short(running)}")
    if using and not (force and record.names):
        means = "cannot be forced" if force else "must be forced"
        raise _conflict(record, means, f"image is being used by stopped container {short(using[0])}")
    removed = _untag(tx, tenant, record.names)
    return removed if using else removed + _delete(tx, tenant, record, free)


def _by_name(
    tx: Transaction, tenant: str, record: Record, text: str, force: bool, using: list[str], free: set[str]
) -> list[Removed]:
    if using and not force and _is_single(record.names):
        raise Conflict(
            f'conflict: unable to remove repository reference "{text}" (must force) - '
            f"container {short(using[0])} is using its referenced image {short(record.id)}",
            "remove the container first",
        )
    name = lookup.name_of(reference.parse(text).or_latest())
    going = [name]
    left = [other for other in record.names if other != name]
    if name.kind == "tag" and not any(o.kind == "tag" and o.repository == name.repository for o in left):
        # The last tag of a repository takes the repository's digests with it.
        going += [other for other in left if other.repository == name.repository]
        left = [other for other in left if other.repository != name.repository]
    removed = _untag(tx, tenant, tuple(going))
    if left or using or lineage.child_of(tx, tenant, record.id):
        return removed
    return removed + _delete(tx, tenant, record, free)


def _is_single(names: tuple[Name, ...]) -> bool:
    """At most one tag, and all names in one repository."""
    return len({name.repository for name in names}) <= 1 and sum(name.kind == "tag" for name in names) <= 1


def _untag(tx: Transaction, tenant: str, names: tuple[Name, ...]) -> list[Removed]:
    for name in names:
        metadata.drop_name(tx, tenant, name)
    # Tags first, as docker lists them.
    ordered = sorted(names, key=lambda name: name.kind == "digest")
    return [("untagged", name.familiar) for name in ordered]


def _delete(tx: Transaction, tenant: str, record: Record, free: set[str]) -> list[Removed]:
    """With those of the nameless images that it was made of, as far as they are *free*, which nothing else needs."""
    removed: list[Removed] = []
    going: Record | None = record
    while going is not None:
        parent = lineage.parent_of(tx, tenant, going.id)
        chains = metadata.delete(tx, tenant, going.id)
        removed += [("deleted", going.id), *(("deleted", chain_id) for chain_id in chains)]
        going = metadata.by_id(tx, tenant, parent) if parent in free else None
        if going is not None and (going.names or lineage.child_of(tx, tenant, parent)):
            going = None
    return removed


def _conflict(record: Record, means: str, reason: str) -> Conflict:
    return Conflict(f"conflict: unable to delete {short(record.id)} ({means}) - {reason}")


def forget(tx: Transaction, tenant: str, victims: list[Record]) -> list[Removed]:
    """Delete these nameless images, whatever was made of them; but none that is no longer what it was."""
    removed: list[Removed] = []
    for victim in victims:
        if metadata.by_id(tx, tenant, victim.id) == victim:
            chains = metadata.delete(tx, tenant, victim.id)
            removed += [("deleted", victim.id), *(("deleted", chain_id) for chain_id in chains)]
    return removed


def prune(tx: Transaction, tenant: str, victims: list[Record], free: set[str]) -> list[Removed]:
    """Delete these images and all their names, with those of the *free* ones that they were made of; but none that is
    no longer what it was when it was judged, or that others were made of."""
    removed: list[Removed] = []
    for victim in victims:
        if metadata.by_id(tx, tenant, victim.id) == victim and not lineage.child_of(tx, tenant, victim.id):
            removed += _untag(tx, tenant, victim.names) + _delete(tx, tenant, victim, free)
    return removed
