# SPDX-License-Identifier: Apache-2.0
"""docker-py on networks, with real VMs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool

from tests.system.conftest import IMAGE

pytestmark = [pytest.mark.vm, pytest.mark.root]

Sleep = Callable[..., Container]
LOOK = "nslookup {0} 2>&1 | sed -n 's/^Address: //p'"


@pytest.fixture
def sleeping(client: docker.DockerClient) -> Iterator[Sleep]:
    """Runs containers that are removed after the test."""
    made: list[Container] = []

    def run(**options: Any) -> Container:
        made.append(client.containers.run(IMAGE, ["sleep", "1000"], detach=True, **options))
        made[-1].reload()
        return made[-1]

    yield run
    for container in made:
        with contextlib.suppress(NotFound):
            container.remove(force=True, v=True)


def shell(container: Container, script: str) -> str:
    return str(container.exec_run(["sh", "-c", script]).output.decode().strip())


def test_a_network_has_the_addresses_and_names_that_were_asked_for(
    client: docker.DockerClient, sleeping: Sleep
) -> None:
    pool = IPAMPool(subnet="10.99.0.0/24", gateway="10.99.0.1")
    network = client.networks.create("py", ipam=IPAMConfig(pool_configs=[pool]), labels={"tour": "py"})
    try:
        assert network.attrs["IPAM"]["Config"] == [{"Subnet": "10.99.0.0/24", "Gateway": "10.99.0.1"}]
        assert [found.id for found in client.networks.list(filters={"label": "tour=py"})] == [network.id]
        endpoint = client.api.create_endpoint_config(aliases=["known"], ipv4_address="10.99.0.9")
        serving = sleeping(name="serving", network="py", networking_config={"py": endpoint})
        asking = sleeping(name="asking", network="py")
        assert serving.attrs["NetworkSettings"]["Networks"]["py"]["IPAddress"] == "10.99.0.9"
        for name in ("serving", "known", serving.short_id):
            assert shell(asking, LOOK.format(name)) == "10.99.0.9"
        assert shell(asking, "ping -c 1 -W 5 known >/dev/null && echo reached") == "reached"
        network.reload()
        assert {container.name for container in network.containers} == {"serving", "asking"}
        stranger = sleeping(name="stranger")
        assert shell(stranger, LOOK.format("known")) == ""
        with pytest.raises(APIError, match="active endpoints"):
            network.remove()
        serving.remove(force=True)
        assert shell(asking, LOOK.format("known")) == ""
        asking.remove(force=True)
    finally:
        network.remove()
    with pytest.raises(NotFound):
        client.networks.get("py")
