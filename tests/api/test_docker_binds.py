# SPDX-License-Identifier: Apache-2.0
"""Directories of the host in the hands of the stock docker CLI, with real VMs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.test_docker_tour import output
from tests.support.daemon import Daemon, running
from tests.system.conftest import IMAGE, load_busybox

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("binds") / "d", bridge="hcbind0", subnet="172.26.0.0/16") as daemon:
        load_busybox(daemon)
        yield daemon


def test_a_directory_is_one_for_both_sides(tour: Daemon, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("host\n")
    bound = ("-v", f"{tmp_path}:/src", "-v", f"{tmp_path}/f:/only:ro", "-v", f"{tmp_path}/new/dir:/made")
    script = "cat /src/f /only; echo guest >/src/g; echo x >/only; touch /made/m"
    done = tour.docker("run", "--rm", *bound, IMAGE, "sh", "-c", script)
    assert done.stdout == "host\nhost\n" and "Read-only file system" in done.stderr
    assert (tmp_path / "g").read_text() == "guest\n" and (tmp_path / "new/dir/m").exists()
    tour.docker("run", "-d", "--name", "dev", "--mount", f"type=bind,src={tmp_path},dst=/src", IMAGE, "sleep", "1000")
    (tmp_path / "g").write_text("edited\n")
    assert output(tour, "exec", "dev", "cat", "/src/g") == "edited"
    assert output(tour, "inspect", "-f", "{{(index .Mounts 0).Type}}", "dev") == "bind"
    tour.docker("restart", "-t", "0", "dev")
    assert output(tour, "exec", "dev", "cat", "/src/g") == "edited"
    tour.docker("rm", "-f", "dev")


def test_a_daemon_that_comes_back_finds_directories_shared(tour: Daemon, tmp_path: Path) -> None:
    tour.docker("run", "-d", "--name", "stays", "-v", f"{tmp_path}:/src", IMAGE, "sleep", "1000")
    tour.kill()
    tour.start()
    assert output(tour, "exec", "stays", "sh", "-c", "echo still >/src/there; cat /src/there") == "still"
    assert (tmp_path / "there").read_text() == "still\n"
    tour.docker("rm", "-f", "stays")
