# SPDX-License-Identifier: Apache-2.0
"""`docker commit` with the stock CLI and real VMs: what was changed is in the image, wherever it goes from there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, running
from tests.system.conftest import IMAGE, load_busybox

pytestmark = [pytest.mark.vm, pytest.mark.root]

CHANGES = (
    "echo new >/root/new; ln /root/new /root/same; rm /etc/group; rm -rf /var; mkdir -p /var/fresh; chmod 700 /home;"
    "touch /etc/hosts; dd if=/dev/zero of=/root/hole bs=1 count=1 seek=1048575 2>/dev/null"
)
LOOK = (
    "cat /root/new; stat -c '%h %i' /root/new /root/same | uniq | wc -l; ls /etc/group 2>&1; ls /var; stat -c %a /home;"
    "wc -c </root/hole"
)
SEEN = "new\n1\nls: /etc/group: No such file or directory\nfresh\n700\n1048576\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("commit") / "d", bridge="hccommit0", subnet="172.27.0.0/16") as daemon:
        load_busybox(daemon)
        yield daemon


def looked_at(daemon: Daemon, image: str) -> str:
    return daemon.docker("run", "--rm", "--network=none", image, "sh", "-c", LOOK).stdout


def test_a_stopped_container_becomes_an_image_that_can_be_saved_and_loaded(daemon: Daemon, tmp_path: Path) -> None:
    daemon.docker("run", "--name", "changed", "--network=none", IMAGE, "sh", "-c", CHANGES)
    made = daemon.docker("commit", "-m", "a note", "-a", "me", "changed", "committed:1").stdout.strip()
    image = json.loads(daemon.docker("image", "inspect", "committed:1").stdout)[0]
    assert (image["Id"], image["Comment"], image["Author"]) == (made, "a note", "me")
    assert image["Config"]["Cmd"] == ["sh", "-c", CHANGES]
    assert looked_at(daemon, "committed:1") == SEEN
    daemon.docker("save", "-o", str(tmp_path / "saved.tar"), "committed:1")
    daemon.docker("rm", "changed")
    daemon.docker("rmi", "committed:1")
    daemon.docker("load", "-i", str(tmp_path / "saved.tar"))
    assert looked_at(daemon, "committed:1") == SEEN
    # An image of a container of that image has three layers, and hides what it takes away again.
    daemon.docker("run", "--name", "again", "--network=none", "committed:1", "rm", "/root/new")
    daemon.hypercell("commit", "again", "committed:2")
    assert daemon.docker("run", "--rm", "--network=none", "committed:2", "ls", "/root").stdout == "hole\nsame\n"
    daemon.docker("rm", "again")


def test_a_running_container_is_paused_meanwhile_and_goes_on(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "runs", "--network=none", IMAGE, "sleep", "1000")
    daemon.docker("exec", "runs", "sh", "-c", CHANGES)
    made = daemon.docker("commit", "--change", 'CMD ["echo", "mine"]', "--change", "ENV A=1", "runs").stdout.strip()
    assert daemon.docker("run", "--rm", "--network=none", made).stdout == "mine\n"
    assert looked_at(daemon, made) == SEEN
    assert daemon.docker("inspect", "-f", "{{.State.Status}}", "runs").stdout == "running\n"
    until = f"{time.time():.9f}"
    told = ("--since", "1", "--until", until, "--filter", "container=runs", "--format", "{{.Action}}")
    actions = daemon.docker("events", *told).stdout.split()
    assert actions[-3:] == ["pause", "unpause", "commit"]
    daemon.docker("pause", "runs")
    daemon.docker("commit", "runs", "committed:paused")
    assert daemon.docker("inspect", "-f", "{{.State.Status}}", "runs").stdout == "paused\n"
    daemon.docker("rm", "-f", "runs")


def test_a_wrong_request_is_refused_in_words(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "idle", "--network=none", IMAGE)
    for words, said in (
        (("nobody",), "No such container"),
        (("--change", "RUN x", "idle"), "RUN is not a valid change command"),
        (("idle", "UPPER"), "must be lowercase"),
    ):
        refused = daemon.docker("commit", *words, check=False)
        assert refused.returncode == 1 and said in refused.stderr
    daemon.docker("rm", "idle")
