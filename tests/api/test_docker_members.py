# SPDX-License-Identifier: Apache-2.0
"""Containers that join others in the hands of the stock docker CLI and of ours, with real VMs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.test_docker_tour import output
from tests.support.daemon import Daemon, running
from tests.system.conftest import IMAGE, load_busybox

pytestmark = [pytest.mark.vm, pytest.mark.root]
JOINED = ("--network", "container:web", "--pid", "container:web")


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("members") / "d", bridge="hcpod0", subnet="172.27.0.0/16") as daemon:
        load_busybox(daemon)
        yield daemon


def test_a_sidecar_sees_its_container_and_goes_without_it(tour: Daemon) -> None:
    web = output(tour, "run", "-d", "--name", "web", "--ipc", "shareable", IMAGE, "sleep", "1234")
    assert "sleep 1234" in output(tour, "run", "--rm", *JOINED, IMAGE, "ps", "-o", "args")
    assert "sleep 1234" in output(tour, "run", "--rm", "--pid", "container:web", IMAGE, "ps", "-o", "args")
    hosts = output(tour, "run", "--rm", *JOINED, IMAGE, "cat", "/etc/hosts")
    assert hosts == output(tour, "exec", "web", "cat", "/etc/hosts")
    output(tour, "run", "-d", "--name", "side", *JOINED, "--ipc", "container:web", IMAGE, "sleep", "4321")
    assert output(tour, "inspect", "-f", "{{.HostConfig.NetworkMode}} {{.Config.Hostname}}", "side") == (
        f"container:{web} {web[:12]}"
    )
    assert "sleep 4321" in output(tour, "exec", "web", "ps", "-o", "args")
    tour.docker("rm", "-f", "side")
    assert output(tour, "ps", "--format", "{{.Names}}") == "web"
    refused = tour.docker("run", "--rm", "-p", "80:80", *JOINED, IMAGE, "true", check=False)
    assert refused.returncode == 125 and "conflicting options" in refused.stderr
    nobody = tour.docker("run", "--rm", "--network", "container:nobody", IMAGE, "true", check=False)
    assert "No such container: nobody" in nobody.stderr and "Unable to find image" not in nobody.stderr
    assert tour.hypercell("run", "--rm", *JOINED, IMAGE, "sh", "-c", "exit 7", check=False).returncode == 7
    output(tour, "create", "--name", "late", *JOINED, IMAGE, "true")
    tour.docker("rm", "-f", "web")
    late = tour.docker("start", "late", check=False)
    assert late.returncode == 1 and f"No such container: {web}" in late.stderr
    tour.docker("rm", "late")
    assert output(tour, "ps", "-aq") == ""
