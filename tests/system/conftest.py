# SPDX-License-Identifier: Apache-2.0
"""One real daemon with real VMs for each test process, and a busybox image in it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, running
from tools.demo_image import layer

IMAGE = "busybox:test"


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("hypercell") / "d") as started:
        load_busybox(started)
        yield started


def load_busybox(daemon: Daemon) -> None:
    subprocess.run(
        ["docker", "import", "--change", "ENV PATH=/bin", "--change", 'CMD ["sh"]', "-", IMAGE],
        input=layer(),
        env=daemon.environment,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def own_daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that the test may kill."""
    # Without a pool: every VM is a container's, or left over.
    with running(tmp_path / "d", bridge="hcown0", subnet="172.28.0.0/16", pool_memory=0) as started:
        load_busybox(started)
        yield started
