# SPDX-License-Identifier: Apache-2.0
"""docker-py on volumes, with real VMs."""

from __future__ import annotations

import docker
import pytest
from docker.errors import APIError, NotFound
from docker.types import Mount

from tests.system.conftest import IMAGE

pytestmark = [pytest.mark.vm, pytest.mark.root]


def test_a_volume_keeps_what_was_written_for_the_next_container(client: docker.DockerClient) -> None:
    volume = client.volumes.create("kept", labels={"tour": "py"})
    try:
        assert [found.name for found in client.volumes.list(filters={"label": "tour=py"})] == ["kept"]
        mounted = {"kept": {"bind": "/data", "mode": "rw"}}
        client.containers.run(IMAGE, ["sh", "-c", "echo written >/data/file"], volumes=mounted, remove=True)
        mount = Mount("/elsewhere", "kept", read_only=True)
        script = "cat /elsewhere/file; touch /elsewhere/new || echo refused"
        said = client.containers.run(IMAGE, ["sh", "-c", script], mounts=[mount], remove=True)
        assert said.split(b"\n")[0] == b"written" and said.endswith(b"refused\n")
        holder = client.containers.create(IMAGE, "true", volumes=mounted)
        assert [(m["Name"], m["Destination"], m["RW"]) for m in holder.attrs["Mounts"]] == [("kept", "/data", True)]
        with pytest.raises(APIError, match="volume is in use"):
            volume.remove()
        holder.remove()
    finally:
        volume.remove()
    with pytest.raises(NotFound):
        client.volumes.get("kept")


def test_a_volume_without_a_name_goes_with_its_container(client: docker.DockerClient) -> None:
    container = client.containers.create(IMAGE, "true", volumes=["/data"])
    (name,) = [volume.name for volume in client.volumes.list()]
    container.remove(v=True)
    with pytest.raises(NotFound):
        client.volumes.get(name)
