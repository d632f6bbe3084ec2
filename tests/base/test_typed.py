# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pytest

from hypercell.base.typed import build, plain, text


@dataclass(frozen=True)
class Leaf:
    number: int


@dataclass(frozen=True)
class Tree:
    name: str
    height: float
    evergreen: bool
    leaves: tuple[Leaf, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    owner: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)


GOOD = {"name": "oak", "height": 2, "evergreen": False}


def test_what_has_its_types_becomes_a_dataclass() -> None:
    more = {"leaves": [{"number": 1}], "labels": {"a": "b"}, "owner": None, "notes": {"any": [1, None]}}
    assert build(Tree, {**GOOD, **more}) == Tree("oak", 2.0, False, (Leaf(1),), {"a": "b"}, None, {"any": [1, None]})
    assert build(Tree, {**GOOD, "owner": "me"}).owner == "me"


def test_its_text_is_what_it_is_built_of_again() -> None:
    labels = MappingProxyType({"a": "b"})
    tree = Tree("ü", 2.0, False, (Leaf(1), Leaf(2)), labels, None, {"any": [1, (Leaf(3),)]})
    assert json.loads(text(tree)) == plain(tree)
    assert build(Tree, json.loads(text(tree))).leaves == tree.leaves
    with pytest.raises(TypeError, match="a set is not JSON"):
        text({"notes": {1}})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "Tree is no object"),
        (None, "Tree is no object"),
        ({}, "Tree lacks name"),
        ({**GOOD, "colour": "green"}, "Tree has an unknown field 'colour'"),
        ({**GOOD, "name": 1}, "Tree.name is no str"),
        ({**GOOD, "name": None}, "Tree.name is no str"),
        ({**GOOD, "name": "\ud800"}, "surrogates not allowed"),
        ({**GOOD, "height": "2"}, "Tree.height is no float"),
        ({**GOOD, "height": True}, "Tree.height is no float"),
        ({**GOOD, "height": float("nan")}, "Tree.height is not finite"),
        ({**GOOD, "evergreen": 1}, "Tree.evergreen is no bool"),
        ({**GOOD, "leaves": {}}, "Tree.leaves is no list"),
        ({**GOOD, "leaves": [{"number": 1.5}]}, "Tree.leaves.number is no int"),
        ({**GOOD, "leaves": [{"number": True}]}, "Tree.leaves.number is no int"),
        ({**GOOD, "labels": []}, "Tree.labels is no object"),
        ({**GOOD, "labels": {"a": 1}}, "Tree.labels is no str"),
        ({**GOOD, "owner": 3}, "Tree.owner is no str"),
    ],
)
def test_what_has_not_is_refused_by_name(values: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build(Tree, values)
