# SPDX-License-Identifier: Apache-2.0
"""The stock docker CLI on files of containers, with real VMs: diff, export, and cp of what does not run."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, running
from tests.system.conftest import IMAGE, load_busybox

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("files") / "d", bridge="hcfile0", subnet="172.30.0.0/16") as daemon:
        load_busybox(daemon)
        yield daemon


@pytest.fixture
def sleeper(tour: Daemon) -> Iterator[str]:
    """A running container."""
    tour.docker("run", "-d", "--name", "sleeper", IMAGE, "sleep", "1000")
    yield "sleeper"
    tour.docker("rm", "-f", "sleeper", check=False)


def output(tour: Daemon, *words: str) -> str:
    return tour.docker(*words).stdout.strip()


def exported(tour: Daemon, name: str) -> tarfile.TarFile:
    done = subprocess.run(
        ["docker", "export", name], env=tour.environment, capture_output=True, timeout=120, check=True
    )
    return tarfile.open(fileobj=io.BytesIO(done.stdout))


def test_diff_and_export_of_a_running_container(tour: Daemon, sleeper: str) -> None:
    assert output(tour, "diff", sleeper) == ""
    tour.docker(
        "exec", sleeper, "sh", "-c", "echo 1 >/tmp/new; rm /bin/yes; echo 2 >/dev/hidden; ln /tmp/new /tmp/same"
    )
    assert output(tour, "diff", sleeper).splitlines() == ["C /bin", "D /bin/yes", "C /tmp", "A /tmp/new", "A /tmp/same"]
    with exported(tour, sleeper) as tar:
        names = tar.getnames()
        assert {"bin", "tmp/new", "dev", "proc", "sys"} <= set(names)
        assert tar.getmember("tmp/same").linkname == "tmp/new"
    assert not [name for name in names if name in ("bin/yes", "dev/hidden", ".") or name.startswith(("proc/", "/"))]


def test_files_of_a_container_that_does_not_run(tour: Daemon, tmp_path: Path) -> None:
    script = "cat /tmp/in; echo written >/tmp/out"
    tour.docker("create", "--name", "still", IMAGE, "sh", "-c", script)
    (tmp_path / "in").write_text("put in\n")
    tour.docker("cp", str(tmp_path / "in"), "still:/tmp/in")
    assert output(tour, "diff", "still").splitlines() == ["C /tmp", "A /tmp/in"]
    assert output(tour, "start", "-a", "still") == "put in"
    tour.docker("cp", "still:/tmp/out", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "written\n"
    with exported(tour, "still") as tar:
        assert "tmp/out" in tar.getnames()
    assert output(tour, "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "still") == "exited 0"
    tour.docker("rm", "still")
    for verb in ("diff", "export"):
        missing = tour.docker(verb, "still", check=False)
        assert missing.returncode == 1
        assert "No such container: still" in missing.stderr


def test_an_exported_container_is_an_image_again(tour: Daemon, sleeper: str, tmp_path: Path) -> None:
    tour.docker("exec", sleeper, "sh", "-c", "echo kept >/tmp/note")
    archive = tmp_path / "root.tar"
    tour.docker("export", "-o", str(archive), sleeper)
    tour.docker("import", str(archive), "exported:1")
    assert output(tour, "run", "--rm", "exported:1", "cat", "/tmp/note") == "kept"
    tour.docker("rmi", "exported:1")


def test_our_own_command_tells_changes_and_exports(tour: Daemon, sleeper: str, tmp_path: Path) -> None:
    tour.docker("exec", sleeper, "sh", "-c", "echo 1 >/tmp/new; printf x >\"/tmp/$(printf 'a\\nb')\"")
    said = tour.hypercell("diff", sleeper).stdout
    assert said.splitlines() == ["C /tmp", r"A /tmp/a\x0ab", "A /tmp/new"]
    archive = tmp_path / "root.tar"
    tour.hypercell("export", "-o", str(archive), sleeper)
    with tarfile.open(archive) as tar:
        assert "tmp/new" in tar.getnames()
