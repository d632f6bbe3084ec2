# SPDX-License-Identifier: Apache-2.0
"""Histories of images: which size, id and tags each step has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hypercell.api.docker.image_view import history_json
from hypercell.base.errors import Internal
from hypercell.images.contract import Image
from tests.support.image_shelf import image

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def of_layers(count: int, *history: dict[str, Any], **members: Any) -> Image:
    made = image("app:1", A, history=history)
    return replace(made, diff_ids=tuple(f"sha256:{number:064}" for number in range(count)), **members)


def test_each_step_has_the_size_of_the_layer_that_it_made() -> None:
    steps = ({"created_by": "ADD"}, {"created_by": "ENV", "empty_layer": True}, {"created_by": "RUN"})
    told = history_json([of_layers(2, *steps)], [700, 30])
    assert [(step["CreatedBy"], step["Size"]) for step in told] == [("RUN", 30), ("ENV", 0), ("ADD", 700)]


def test_steps_that_are_images_here_have_their_ids_and_tags() -> None:
    child = of_layers(2, {}, {}, {}, parent=B)
    told = history_json([child, image("base:1", B)], [1, 2, 3])
    assert [(step["Id"], step["Tags"]) for step in told] == [(A, ["app:1"]), (B, ["base:1"]), ("<missing>", None)]


def test_a_layer_that_was_not_measured_is_0_unless_it_is_the_whole_image() -> None:
    assert [step["Size"] for step in history_json([of_layers(2, {}, {})], [0, 5])] == [5, 0]
    assert [step["Size"] for step in history_json([of_layers(1, {}, size=4096)], [0])] == [4096]


def test_an_image_without_a_history_has_none() -> None:
    assert history_json([of_layers(1)], [5]) == []


def test_a_history_of_more_layers_than_there_are_is_an_error_as_in_dockerd() -> None:
    with pytest.raises(Internal, match="too many non-empty layers in History section"):
        history_json([of_layers(1, {}, {})], [5])
