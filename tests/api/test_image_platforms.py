# SPDX-License-Identifier: Apache-2.0
"""`platform` and `manifests` of image requests: an image is kept for one platform, and others are not found."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from .conftest import Client
from .door import IMAGE

OURS = {"os": "linux", "architecture": "amd64"}
OTHER = {"os": "linux", "architecture": "arm64"}


def asking(platform: Any) -> str:
    return "platform=" + quote(platform if isinstance(platform, str) else json.dumps(platform))


@pytest.fixture(params=["json", "history"])
def path(request: pytest.FixtureRequest) -> str:
    return f"/images/{IMAGE}/{request.param}"


async def test_the_images_own_platform_answers_as_none_does(client: Client, path: str) -> None:
    assert await client.ask("GET", f"{path}?{asking(OURS)}") == await client.ask("GET", path)
    assert (await client.ask("GET", f"{path}?{asking({**OURS, 'variant': 'v2'})}"))[0] == 200


async def test_another_platform_is_not_found_in_dockerds_words(client: Client, path: str) -> None:
    status, answer = await client.ask("GET", f"{path}?{asking(OTHER)}")
    assert status == 404
    assert answer["message"] == (
        f"image with reference {IMAGE} was found but its platform (linux/amd64) does not match"
        " the specified platform (linux/arm64)"
    )
    in_full = path.replace(IMAGE, f"docker.io/library/{IMAGE}")
    assert (await client.ask("GET", f"{in_full}?{asking(OTHER)}"))[1] == answer


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        ("{", "failed to parse platform"),
        ("[]", "failed to parse platform"),
        ("linux/amd64", "failed to parse platform"),
        ({"os": 1, "architecture": "amd64"}, "failed to parse platform"),
        ({"os": "linux"}, "both OS and Architecture must be provided"),
        ({}, "both OS and Architecture must be provided"),
        ({"variant": "v8"}, "optional platform fields provided, but OS and Architecture are missing"),
    ],
)
async def test_what_is_no_platform_is_refused(client: Client, path: str, platform: Any, words: str) -> None:
    status, answer = await client.ask("GET", f"{path}?{asking(platform)}")
    assert status == 400 and answer["message"].startswith(words)


async def test_manifests_add_nothing_and_go_with_no_platform(client: Client) -> None:
    path = f"/images/{IMAGE}/json"
    assert await client.ask("GET", f"{path}?manifests=1") == await client.ask("GET", path)
    assert await client.ask("GET", "/images/json?manifests=1") == await client.ask("GET", "/images/json")
    status, answer = await client.ask("GET", f"{path}?manifests=1&{asking(OURS)}")
    assert status == 400
    assert answer["message"] == "conflicting options: manifests and platform options cannot both be set"
    assert (await client.ask("GET", f"{path}?manifests=0&{asking(OURS)}"))[0] == 200


async def test_older_versions_of_the_api_know_no_platform(client: Client) -> None:
    assert (await client.ask("GET", f"/v1.48/images/{IMAGE}/json?{asking(OTHER)}"))[0] == 200
    assert (await client.ask("GET", f"/v1.47/images/{IMAGE}/history?{asking(OTHER)}"))[0] == 200
    assert (await client.ask("GET", f"/v1.48/images/{IMAGE}/history?{asking(OTHER)}"))[0] == 404
    _, images = await client.ask("GET", "/v1.41/images/json?shared-size=1")
    assert {image["SharedSize"] for image in images} == {-1}
