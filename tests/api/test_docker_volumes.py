# SPDX-License-Identifier: Apache-2.0
"""Volumes in the hands of the stock docker CLI, with real VMs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.api.test_docker_tour import output
from tests.support.daemon import Daemon, running
from tests.system.conftest import IMAGE, load_busybox

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("volumes") / "d", bridge="hcvol0", subnet="172.27.0.0/16") as daemon:
        load_busybox(daemon)
        yield daemon


def test_volumes_are_kept_shared_and_removed(tour: Daemon) -> None:
    assert output(tour, "volume", "create", "--label", "role=tour", "data") == "data"
    tour.docker("run", "--rm", "-v", "data:/data", "-v", "/own", IMAGE, "sh", "-c", "echo kept >/data/f; touch /own/x")
    assert output(tour, "volume", "ls", "-q") == "data"
    mount = ("--mount", "type=volume,src=data,dst=/d,readonly")
    assert output(tour, "run", "--rm", *mount, IMAGE, "sh", "-c", "cat /d/f; touch /d/g 2>&1 || true").startswith(
        "kept\n"
    )
    tour.docker("create", "--name", "holder", "-v", "data:/data", "-v", "/own", IMAGE, "true")
    assert output(tour, "run", "--rm", "--volumes-from", "holder", IMAGE, "cat", "/data/f") == "kept"
    assert output(tour, "ps", "-a", "--filter", "volume=data", "--format", "{{.Names}} {{.LocalVolumes}}") == "holder 2"
    shown = json.loads(output(tour, "inspect", "-f", "{{json .Mounts}}", "holder"))
    assert {(m["Type"], m["Destination"], m["RW"]) for m in shown} == {
        ("volume", "/data", True),
        ("volume", "/own", True),
    }
    refused = tour.docker("volume", "rm", "data", check=False)
    assert refused.returncode == 1 and "volume is in use" in refused.stderr
    tour.docker("cp", "holder:/data/f", "-")
    tour.docker("rm", "-v", "holder")
    (usage,) = (
        line for line in output(tour, "system", "df", "--format", "{{json .}}").splitlines() if "Local Volumes" in line
    )
    assert (json.loads(usage)["TotalCount"], json.loads(usage)["Active"]) == ("1", "0")
    if output(tour, "version", "--format", "{{.Client.APIVersion}}") < "1.42":  # which prunes named volumes too
        assert "Deleted Volumes:\ndata" in output(tour, "volume", "prune", "-f")
        return
    assert "Total reclaimed space" in output(tour, "volume", "prune", "-f")
    assert output(tour, "volume", "ls", "-q", "--filter", "label=role=tour") == "data"
    assert output(tour, "volume", "inspect", "-f", "{{.Driver}} {{.Scope}}", "data") == "local local"
    assert "Deleted Volumes:\ndata" in output(tour, "volume", "prune", "-a", "-f")
    assert tour.docker("volume", "inspect", "data", check=False).returncode == 1


def test_a_volume_is_not_written_by_two_at_a_time(tour: Daemon) -> None:
    tour.docker("run", "-d", "--name", "writer", "-v", "shared:/data", IMAGE, "sleep", "1000")
    refused = tour.docker("run", "--rm", "-v", "shared:/data", IMAGE, "true", check=False)
    assert refused.returncode == 125
    assert 'volume "shared" is used by the container "writer"' in refused.stderr
    tour.docker("rm", "-f", "writer")
    tour.docker("run", "--rm", "-v", "shared:/data", IMAGE, "true")
    tour.docker("volume", "rm", "shared")
