# SPDX-License-Identifier: Apache-2.0
"""docker-py builds and commits, with real VMs."""

from __future__ import annotations

import io
from pathlib import Path

import docker
import pytest
from docker.errors import APIError, BuildError, ImageNotFound

from tests.support.images import tar
from tests.system.conftest import IMAGE

pytestmark = [pytest.mark.vm, pytest.mark.root]


def test_a_directory_is_built_with_arguments_labels_and_limits(client: docker.DockerClient, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE} AS a\nARG WORD\nCOPY . /all\nRUN echo $WORD >/word\nFROM a\n")
    (tmp_path / ".dockerignore").write_text("secret\n")
    (tmp_path / "secret").touch()
    image, said = client.images.build(
        path=str(tmp_path),
        tag="py:1",
        buildargs={"WORD": "word"},
        labels={"by": "docker-py"},
        network_mode="none",
        container_limits={"memory": 64 << 20},
        rm=True,
        target="a",
        nocache=True,
        extra_hosts={"other": "10.0.0.1"},
    )
    assert image.tags == ["py:1"] and image.labels == {"by": "docker-py"}
    assert any("Successfully tagged py:1" in line.get("stream", "") for line in said)
    ran = client.containers.run("py:1", ["sh", "-c", "cat /word; ls -a /all"], network_mode="none", remove=True)
    assert ran.decode().split() == ["word", ".", "..", ".dockerignore", "Dockerfile"]


def test_a_dockerfile_alone_and_a_tar_are_built(client: docker.DockerClient) -> None:
    image, _ = client.images.build(fileobj=io.BytesIO(f"FROM {IMAGE}\nENV A=1\n".encode()))
    assert "A=1" in image.attrs["Config"]["Env"]
    context = tar({"other": f"FROM {IMAGE}\nENV B=1\n".encode()})
    image, _ = client.images.build(fileobj=io.BytesIO(context), custom_context=True, dockerfile="other", quiet=True)
    assert "B=1" in image.attrs["Config"]["Env"]


def test_a_build_that_fails_tells_what_was_said(client: docker.DockerClient) -> None:
    with pytest.raises(BuildError, match="returned a non-zero code: 3") as caught:
        client.images.build(fileobj=io.BytesIO(f"FROM {IMAGE}\nRUN echo said; exit 3\n".encode()), network_mode="none")
    assert any("said" in line.get("stream", "") for line in caught.value.build_log)
    with pytest.raises(APIError, match="dockerfile parse error"):
        client.images.build(fileobj=io.BytesIO(b"FROM\n"))


def test_a_container_is_committed(client: docker.DockerClient) -> None:
    container = client.containers.run(IMAGE, ["touch", "/made"], network_mode="none", detach=True)
    container.wait()
    image = container.commit("py", "committed", message="a note", author="me", changes=["CMD ls /made"])
    container.remove()
    assert image.tags == ["py:committed"] and image.attrs["Comment"] == "a note"
    assert client.containers.run(image, network_mode="none", remove=True) == b"/made\n"


def test_the_cache_is_pruned(client: docker.DockerClient) -> None:
    image, _ = client.images.build(fileobj=io.BytesIO(f"FROM {IMAGE}\nENV C=1\nENV D=1\n".encode()))
    assert image.id in client.api.prune_builds()["CachesDeleted"]
    with pytest.raises(ImageNotFound):
        client.images.get(image.id)
